internal import Bytes
internal import JOSE

/// The scopes of a token: from `scope` (RFC 8693 §4.2), `scp` or `scopes`, a string with spaces or an array
/// with one in each element.
public enum Scopes {
    /// The claims that hold scopes; what is in any of them counts.
    private static var claims: [ClaimPath] { ["scope", "scp", "scopes"].compactMap { ClaimPath($0) } }

    /// Adds all scopes of the token, each with a space behind it.
    static func append(of token: borrowing VerifiedToken, to output: inout ByteArray) {
        for path in claims {
            guard let value = token.claim(at: path) else { continue }
            if value.kind == .string { append(token.bytes(of: value), to: &output) }
            var element = token.firstElement(of: value)
            while let current = element {
                if current.kind == .string { append(element: token.bytes(of: current), to: &output) }
                element = token.element(after: current, in: value)
            }
        }
    }

    /// No scope has a space in it (RFC 6749 §3.3): such an element is none, and not two.
    private static func append(element text: Span<UInt8>, to output: inout ByteArray) {
        for index in text.indices where text[index] == ASCII.space { return }
        append(text, to: &output)
    }

    private static func append(_ text: Span<UInt8>, to output: inout ByteArray) {
        output.append(text)
        output.append(ASCII.space)
    }

    /// True where one of the words of `list` is exactly `scope`.
    static func contains(_ scope: Span<UInt8>, in list: Span<UInt8>) -> Bool {
        var start = 0
        for index in list.indices where list[index] == ASCII.space {
            if ASCII.equals(list.extracting(start..<index), scope) { return true }
            start = index + 1
        }
        return false
    }

    /// True for the text of a scope: visible ASCII but `"` and `\` (RFC 6749 §3.3).
    public static func isValid(_ scope: String) -> Bool {
        !scope.isEmpty && scope.utf8.allSatisfy { ASCII.isVisible($0) && $0 != 0x22 && $0 != 0x5C }
    }
}
