// Signs in at the auth server, which is on this page's own origin, and goes back to where the browser came from.

const form = document.querySelector("#sign-in");
const problem = document.querySelector("#problem");

/// Where `return_to` leads: a page of this origin and nothing else, because anybody can write a link to this page. What was
/// checked is what is used, the whole URL: "/..//elsewhere" has a path that would be another host by itself.
function wayBack() {
  const home = new URL("/", location.origin);
  const path = new URLSearchParams(location.search).get("return_to") ?? "/";
  if (!path.startsWith("/") || !URL.canParse(path, home)) return home;
  const url = new URL(path, home);
  return url.origin === home.origin ? url : home;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch("/api/auth/sign-in/email", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email: form.email.value, password: form.password.value }),
    });
    if (answer.ok) return location.assign(wayBack());
    problem.textContent = answer.status === 401 ? "E-mail or password is wrong." : `Signing in failed (${answer.status}).`;
  } catch {
    problem.textContent = "The server cannot be reached.";
  } finally {
    button.disabled = false;
  }
  problem.hidden = false;
  form.password.select();
});

form.email.focus();
