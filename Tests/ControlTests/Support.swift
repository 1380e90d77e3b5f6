import Config
import Testing

/// The issuer "main" of a small configuration; `keys` is the line that says where its keys are.
func issuer(keys: String) throws -> IssuerConfiguration {
    let text = """
        [listen.a]
        address = "127.0.0.1:1"
        [upstream.u]
        servers = ["127.0.0.1:2"]
        [issuer.main]
        issuer = "https://a.example/t"
        audience = "a"
        \(keys)
        [[route]]
        path = "/"
        auth = "main"
        upstream = "u"
        """
    let loaded = Configuration.load(
        text: Array(text.utf8), path: "x", environment: [:], files: SystemFiles())
    return try #require(loaded.configuration?.issuers.first)
}
