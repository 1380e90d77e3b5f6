import Bytes
import Crypto

/// The status page: one document with everything in it, which asks `/status.json` for what it shows.
enum StatusPage {
    static let document = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>usher</title>
        <link rel="icon" href="data:,">
        <style>\(StatusPageStyle.text)</style>
        </head>
        <body>
        <header>
        <h1>usher</h1><span id="state" class="pill">…</span>
        <p id="about"></p>
        </header>
        <main>
        <p id="alarm" role="alert" hidden></p>
        <section class="tiles" id="tiles" aria-label="Now"></section>
        <section class="charts">
        <figure><figcaption>Requests a second <span class="legend" id="traffic-legend"></span></figcaption>
        <div class="chart" id="traffic"></div></figure>
        <figure><figcaption>Latency <span class="legend" id="latency-legend"></span></figcaption>
        <div class="chart" id="latency"></div></figure>
        <figure><figcaption>Refusals and failures a second <span class="legend" id="reasons-legend"></span></figcaption>
        <div class="chart" id="reasons"></div></figure>
        </section>
        <section><h2>Upstreams</h2><div id="upstreams" class="table"></div></section>
        <section><h2>Issuers</h2><div id="issuers" class="table"></div></section>
        <section><h2>Routes</h2><div id="routes" class="table"></div></section>
        <section><h2>Recent refusals</h2><div id="refusals" class="table"></div></section>
        </main>
        <footer><a href="/metrics">metrics</a> · <a href="/config">configuration</a> · <a href="/routes">routes</a> ·
        <a href="/readyz">readiness</a></footer>
        <noscript><p>This page draws itself with JavaScript; /metrics and /status.json say the same without.</p></noscript>
        <script>\(StatusPageScript.text)</script>
        </body>
        </html>

        """

    /// What the page may load: nothing but its own style and script, which are named by their digests, and
    /// `/status.json`. Nobody may frame it.
    static let fields = """
        Content-Security-Policy: default-src 'none'; connect-src 'self'; img-src data:; \
        style-src '\(digest(StatusPageStyle.text))'; script-src '\(digest(StatusPageScript.text))'; base-uri 'none'; \
        form-action 'none'; frame-ancestors 'none'\r
        Referrer-Policy: no-referrer\r
        Cross-Origin-Opener-Policy: same-origin\r

        """

    /// `sha256-…`, as Content-Security-Policy names an inline text.
    private static func digest(_ text: String) -> String {
        var hasher = SHA256()
        let words = hasher.hash(Array(text.utf8).span).words
        var bytes: [UInt8] = []
        for word in [words.0, words.1, words.2, words.3] {
            var shift: UInt64 = 0
            while shift < 64 {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
                shift += 8
            }
        }
        return "sha256-" + String(decoding: Base64.encode(bytes.span), as: UTF8.self)
    }
}
