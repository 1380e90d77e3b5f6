internal import Bytes
internal import Crypto

/// Session tokens as Better Auth signs them: `TOKEN.BASE64`, in a cookie percent-encoded, in a bearer mostly not.
struct SignedSession {
    /// The longest token, in bytes; real ones have 32.
    static let largestTokenBytes = 256
    /// A signature in base64, its padding included.
    private static let signatureCount = 44

    private let key: HMACKey

    init(_ key: HMACKey) {
        self.key = key
    }

    /// The token of a cookie's value, which is added to `token`; false where the signature is not exactly this
    /// secret's.
    func open(cookie value: Span<UInt8>, into token: inout ByteArray) -> Bool {
        let start = token.count
        guard Self.decodePercent(value, into: &token), let count = tokenCount(cookie: token, from: start)
        else { return false }
        token.truncate(to: start + count)
        return true
    }

    /// The same of a bearer token, whose signature may be in either alphabet and without padding.
    func open(bearer value: Span<UInt8>, into token: inout ByteArray) -> Bool {
        let start = token.count
        guard Self.decodePercent(value, into: &token), let count = tokenCount(bearer: token, from: start)
        else { return false }
        token.truncate(to: start + count)
        return true
    }

    private func tokenCount(cookie bytes: borrowing ByteArray, from start: Int) -> Int? {
        let text = bytes.span.extracting(droppingFirst: start)
        guard let dot = Self.lastDot(text), text.count - dot - 1 == Self.signatureCount, isToken(text, dot),
            isSigned(text.extracting(0..<dot), by: text.extracting(dot + 1..<text.count))
        else { return nil }
        return dot
    }

    private func tokenCount(bearer bytes: borrowing ByteArray, from start: Int) -> Int? {
        let text = bytes.span.extracting(droppingFirst: start)
        guard let dot = Self.firstDot(text), isToken(text, dot) else { return nil }
        var signature = [44 of UInt8](repeating: UInt8(ascii: "="))
        let given = text.extracting(dot + 1..<text.count)
        guard given.count == Self.signatureCount || given.count == Self.signatureCount - 1 else {
            return nil
        }
        for index in 0..<given.count {
            switch given[index] {
            case UInt8(ascii: "-"): signature[index] = UInt8(ascii: "+")
            case UInt8(ascii: "_"): signature[index] = UInt8(ascii: "/")
            default: signature[index] = given[index]
            }
        }
        return isSigned(text.extracting(0..<dot), by: signature.span) ? dot : nil
    }

    private func isToken(_ text: Span<UInt8>, _ count: Int) -> Bool {
        guard count >= 1, count <= Self.largestTokenBytes else { return false }
        for index in 0..<count where !ASCII.isVisible(text[index]) { return false }
        return true
    }

    /// Compares in constant time (rule J19), as text: so each signature has one spelling.
    private func isSigned(_ token: Span<UInt8>, by signature: Span<UInt8>) -> Bool {
        var code = [32 of UInt8](repeating: 0)
        var room = code.mutableSpan
        guard key.authenticate(token, into: &room) == 32 else { return false }
        var text = [44 of UInt8](repeating: 0)
        var characters = text.mutableSpan
        Base64.encode(code.span, into: &characters)
        return ConstantTime.equal(text.span, signature)
    }

    /// Adds the text with `%41` and the like decoded. Where a `%` is followed by something else, the whole text is taken
    /// as it stands, as Better Auth does.
    private static func decodePercent(_ text: Span<UInt8>, into output: inout ByteArray) -> Bool {
        guard text.count <= 3 * (largestTokenBytes + signatureCount + 1) else { return false }
        let start = output.count
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "%") else {
                output.append(text[index])
                index += 1
                continue
            }
            guard index + 2 < text.count, let high = ASCII.hexadecimalValue(text[index + 1]),
                let low = ASCII.hexadecimalValue(text[index + 2])
            else {
                output.truncate(to: start)
                output.append(text)
                return true
            }
            output.append(high << 4 | low)
            index += 3
        }
        return true
    }

    private static func lastDot(_ text: Span<UInt8>) -> Int? {
        var index = text.count - 1
        while index >= 0 {
            if text[index] == UInt8(ascii: ".") { return index }
            index -= 1
        }
        return nil
    }

    private static func firstDot(_ text: Span<UInt8>) -> Int? {
        for index in 0..<text.count where text[index] == UInt8(ascii: ".") { return index }
        return nil
    }
}
