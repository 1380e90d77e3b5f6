@testable import Config

/// Files that a test made up.
struct MemoryFiles: FileSource {
    var files: [String: String] = [:]

    func read(path: String) -> FileReading {
        files[path].map { .contents(Array($0.utf8)) } ?? .missing
    }
}

let goodSecret = "0123456789abcdef0123456789abcdef"

/// The public key of RFC 8037, A.2.
let ed25519Key = """
    {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    """
let ed25519KeySet = "{\"keys\":[\(ed25519Key)]}"
let oddKeySet = "{\"keys\":[{\"kty\":\"odd\"},\(ed25519Key)]}"
let ed25519PEM = """
    -----BEGIN PUBLIC KEY-----
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
    -----END PUBLIC KEY-----

    """

/// A public RSA key of 2048 bits, made for these tests.
let rsaPEM = """
    -----BEGIN PUBLIC KEY-----
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyCnzGUsiI9L/7FF+yS9U
    B6DVV06d5wbtJkIfdDVomEi4LwZODKIlqHGvs4mNOT3e6yNuDKJd0ZCQgZ7JKJDs
    nL6I8BlyDxrur2FlPHv9WE7TYOml1WJhuUq98xHPPwZ4O4VX0RtPS5NIQCGErLYO
    1YNKw3oNW6XxqAgd24P53YHW6T0IR8Ntlqj5kUwNirOGuzbCzSvnflJ8w+YhRK7u
    WxTko8beMyl2QGlClSUSv3VOewpqycLP0P7pRU5swAQUKgBuMJ1dcQk4g8rdpw9T
    PYFyLMFuTZ1ugbKg5yteMORTK/cHvdG3a2xVAZuFA/5LMAR6Vq0vblW7f+oOqhu6
    pQIDAQAB
    -----END PUBLIC KEY-----

    """

/// What the tests' configurations may refer to.
let files = MemoryFiles(files: [
    "/etc/usher/secret": goodSecret + "\n", "/etc/usher/short": "short\n",
    "/etc/usher/default": "better-auth-secret-12345678901234567890",
    "/etc/usher/windows": goodSecret + "\r\n", "/etc/usher/twice": goodSecret + "\n\n",
    "/etc/usher/jwks.json": ed25519KeySet, "/etc/usher/empty.json": "{\"keys\":[]}",
    "/etc/usher/odd.json": oddKeySet, "/etc/usher/list.json": "[]", "/etc/usher/rsa.pem": rsaPEM,
    "/etc/usher/issuer.pem": ed25519PEM, "/etc/usher/both.pem": rsaPEM + ed25519PEM,
    "/etc/usher/explained.pem": "# not the -----BEGIN CERTIFICATE----- of old\r\n" + ed25519PEM,
    "/etc/usher/marked.pem": "\u{feff}" + ed25519PEM,
    "/etc/usher/words.pem": "# -----BEGIN PUBLIC KEY-----\n",
    "/etc/usher/broken.pem": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
    "/etc/usher/private.pem": "-----BEGIN PRIVATE KEY-----\nMCow\n-----END PRIVATE KEY-----\n",
    "/etc/usher/pkcs1.pem": "-----BEGIN RSA PUBLIC KEY-----\nMCow\n-----END RSA PUBLIC KEY-----\n",
    "/etc/usher/certificate.pem": "-----BEGIN CERTIFICATE-----\nMCow\n-----END CERTIFICATE-----\n",
    "/abs/secret": goodSecret, "/etc/usher/late.json": "{\"sub\":{\"u\":1769299200000}}",
    "/etc/usher/revoked.json": "{\"sub\":{\"u\":1769299200}}",
])

let variables = [
    "SECRET": goodSecret, "SHORT": "short", "EMPTY": "", "SERVICE_TOKEN": "abc.def", "SPACED": "abc def",
    "DEFAULT": "better-auth-secret-12345678901234567890", "HOST": "10.0.0.7", "PORT": "9000",
]

func load(_ text: String, _ environment: [String: String] = variables) -> LoadedConfiguration {
    Configuration.load(
        text: Array(text.utf8), path: "/etc/usher/usher.toml", environment: environment, files: files)
}

/// `LINE:COLUMN: error: message; did you mean …`, one for each diagnostic.
func headlines(_ loaded: LoadedConfiguration) -> [String] {
    loaded.diagnostics.map { String($0.headline(file: "").dropFirst()) }
}

/// A whole configuration in which one part is replaced; its text begins at line 1.
struct Sample {
    var first = ""
    var listen = "[listen.public]\naddress = \"127.0.0.1:8080\"\n"
    var upstream = "[upstream.tasks]\nservers = [\"127.0.0.1:8000\"]\n"
    var issuer = """
        [issuer.main]
        issuer = "https://app.example.com"
        audience = ["https://app.example.com"]
        secret = { env = "SECRET" }

        """
    var route = """
        [[route]]
        path = "/api/{user_id}/tasks/**"
        auth = "main"
        upstream = "tasks"

        """

    /// `first` stands at the top, so that tests know its lines.
    var text: String { first + "\n" + listen + upstream + issuer + route }
}
