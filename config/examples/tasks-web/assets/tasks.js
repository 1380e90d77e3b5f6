// Lists and changes tasks at an API on another origin: with the session's cookie, or with a token of its own.

const find = (selector) => document.querySelector(selector);
const settings = await (await fetch("/settings.json")).json();
const api = settings.api || location.origin;

const EXPLAINED = {
  cookie: "The browser sends the session cookie along (credentials: “include”). usher checks it and the page’s origin, and takes it out.",
  bearer: "The page asks the auth server for a token of 15 minutes and sends it as Authorization: Bearer. No cookie is sent.",
};

// ---- Requests

let token = null;

const way = () => find("input[name=way]:checked").value;

/// Who is not signed in any more goes to the page again: for a navigation, usher answers with the way to sign in.
function signInAgain() {
  location.reload();
  return new Promise(() => {});
}

async function freshToken() {
  const answer = await fetch("/api/auth/token");
  if (!answer.ok) return signInAgain();
  return (await answer.json()).token;
}

async function send(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  if (way() === "bearer") headers.Authorization = `Bearer ${(token ??= await freshToken())}`;
  const started = performance.now();
  const request = {
    method,
    headers,
    credentials: way() === "cookie" ? "include" : "omit",
    body: body && JSON.stringify(body),
  };
  try {
    const answer = await fetch(api + path, request);
    note(method, path, answer.status, performance.now() - started);
    return answer;
  } catch {
    // Whatever CORS does not allow looks like this to a page.
    note(method, path, "refused", performance.now() - started);
    throw new Error("The API cannot be reached, or does not let this page read its answer.");
  }
}

async function call(method, path, body) {
  let answer = await send(method, path, body);
  if (answer.status === 401 && way() === "bearer") {
    token = null; // expired: once more with a fresh one
    answer = await send(method, path, body);
  }
  if (answer.status === 401) return signInAgain();
  if (!answer.ok) {
    const document = await answer.json().catch(() => ({}));
    throw new Error(document.title ?? document.detail ?? `The API answered ${answer.status}.`);
  }
  return answer.status === 204 ? null : answer.json();
}

// ---- What is shown

function note(method, path, status, milliseconds) {
  const line = document.createElement("li");
  const good = typeof status === "number" && status < 400;
  for (const [name, text] of [
    ["method", method],
    ["path", path],
    [good ? "status good" : "status bad", status],
    ["time", `${Math.round(milliseconds)} ms`],
  ]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    line.append(part);
  }
  find("#log").prepend(line);
  while (find("#log").children.length > 8) find("#log").lastElementChild.remove();
}

function complain(error) {
  find("#problem").textContent = error.message;
  find("#problem").hidden = false;
}

function show(tasks) {
  find("#tasks").replaceChildren(...tasks.map(row));
  find("#empty").hidden = tasks.length > 0;
  const open = tasks.filter((task) => !task.completed).length;
  find("#count").textContent = tasks.length ? `${open} open, ${tasks.length - open} done` : "";
}

function row(task) {
  const item = find("#task").content.cloneNode(true).firstElementChild;
  const [box, button] = [item.querySelector("input"), item.querySelector("button")];
  item.querySelector("label span").textContent = task.title;
  item.classList.toggle("done", task.completed);
  box.checked = task.completed;
  button.setAttribute("aria-label", `Delete “${task.title}”`);
  box.addEventListener("change", () => act(() => call("PATCH", `/tasks/${task.id}`, { completed: box.checked })));
  button.addEventListener("click", () => act(() => call("DELETE", `/tasks/${task.id}`)));
  return item;
}

/// Does something, and shows what there is then.
async function act(work) {
  find("#problem").hidden = true;
  try {
    await work();
    show(await call("GET", "/tasks"));
  } catch (error) {
    complain(error);
  }
}

function showWay() {
  find("#explained").textContent = EXPLAINED[way()];
}

// ---- Start

find("#page-origin").textContent = location.origin;
find("#api-origin").textContent = api;
showWay();

find("#add").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("#title");
  act(async () => {
    await call("POST", "/tasks", { title: field.value.trim() });
    field.value = "";
    field.focus();
  });
});

for (const choice of document.querySelectorAll("input[name=way]")) {
  choice.addEventListener("change", () => {
    showWay();
    act(() => {});
  });
}

find("#sign-out").addEventListener("click", async () => {
  await fetch("/api/auth/sign-out", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  location.assign("/sign-in");
});

const session = await (await fetch("/api/auth/get-session")).json();
if (!session) {
  signInAgain();
} else {
  find("#name").textContent = session.user.name;
  find("#email").textContent = session.user.email;
  find("#initials").textContent = session.user.name.split(" ").map((part) => part[0]).join("");
  find("#who").hidden = false;
  act(() => {});
}
