import ArgumentParser
import Bytes

/// `usher token decode`
struct TokenDecodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode",
        abstract: "Show a token's header and payload as they are, unverified.",
        discussion: """
            Nothing is checked: anybody can make a token that says anything. "usher token verify" checks.
            """)

    @Option(
        help: ArgumentHelp("The token: its text, @file, or - for the standard input.", valueName: "token"))
    var token: String?

    @Argument(help: ArgumentHelp("The same, without the flag.", valueName: "token"))
    var positional: String?

    func validate() throws {
        if token != nil && positional != nil { throw ValidationError("Give the token once.") }
    }

    func run() throws {
        let bytes: [UInt8]
        switch TokenInput.read(token ?? positional ?? "-") {
        case .success(let token): bytes = token
        case .failure(let failure): throw Console.fail(failure.message)
        }
        switch TokenText.show(bytes) {
        case .success(let text): try Console.output(text)
        case .failure(let failure): throw Console.fail(failure.message)
        }
    }
}

/// The parts of a compact token (RFC 7515 section 7.1) as text for people.
enum TokenText {
    /// Header and payload, pretty where they are JSON; a message where the token is none.
    static func show(_ token: [UInt8]) -> Result<String, TokenInput.Failure> {
        let parts = token.split(separator: 0x2e, omittingEmptySubsequences: false).map(Array.init)
        guard parts.count == 3 else {
            return .failure(
                .init(
                    message:
                        "not a compact token: it must have three parts with dots between them, and has \(parts.count)"
                ))
        }
        var shown: [String] = []
        for (name, part) in zip(["header", "payload"], parts) {
            guard let bytes = decode(part) else {
                return .failure(.init(message: "the \(name) is not base64url without padding (RFC 7515)"))
            }
            shown.append(pretty(bytes))
        }
        return .success(shown.joined(separator: "\n"))
    }

    /// The payload of a token that was verified.
    static func payload(_ token: [UInt8]) -> String? {
        let parts = token.split(separator: 0x2e, omittingEmptySubsequences: false).map(Array.init)
        return parts.count == 3 ? decode(parts[1]).map(pretty) : nil
    }

    private static func decode(_ text: [UInt8]) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: text.count)
        var room = bytes.mutableSpan
        guard let count = Base64URL.decode(text.span, into: &room) else { return nil }
        bytes.removeSubrange(count...)
        return bytes
    }

    private static func pretty(_ bytes: [UInt8]) -> String {
        JSONTree(parsing: bytes)?.pretty() ?? Console.harmless(String(decoding: bytes, as: UTF8.self))
    }
}
