internal import Bytes

/// What an issuer says that a token is for. RFC 7662 has it answer about refresh tokens, too, which are active, and no
/// credentials for anybody but itself (RFC 6749 §1.5); so are ID tokens. Each server has a word of its own for that.
enum TokenUse {
    /// False where an answer is about another token than one for access; true where it does not say.
    static func isAccess(_ answer: borrowing JSONDocument) -> Bool {
        // Ory Hydra; OpenIddict; some put it there; Keycloak.
        for name in ["token_use", "token_usage", "token_type", "typ"] as [StaticString] {
            guard let node = answer.member(name, of: 0), answer.node(node).kind == .string else { continue }
            if isOther(answer.bytes(of: node)) { return false }
        }
        return true
    }

    /// `refresh_token`, `Refresh`, `refresh+jwt` and `urn:ietf:params:oauth:token-type:refresh_token` mean the same.
    /// Words that are not known say nothing: whoever is asked knows best what it calls a token for access.
    private static func isOther(_ word: Span<UInt8>) -> Bool {
        var start = word.count
        while start > 0, word[start - 1] != UInt8(ascii: ":") { start -= 1 }
        var end = word.count
        if ends(word, start..<end, with: "+jwt") { end -= 4 }
        if ends(word, start..<end, with: "token") {
            end -= 5
            if end > start, word[end - 1] == UInt8(ascii: "_") || word[end - 1] == UInt8(ascii: "-") {
                end -= 1
            }
        }
        let use = word.extracting(start..<end)
        return ASCII.equalsIgnoringCase(use, "refresh") || ASCII.equalsIgnoringCase(use, "offline")
            || ASCII.equalsIgnoringCase(use, "id") || ASCII.equalsIgnoringCase(use, "logout")
            // `authorization_code`, `device_code`.
            || ends(use, 0..<use.count, with: "_code")
    }

    private static func ends(_ word: Span<UInt8>, _ range: Range<Int>, with ending: StaticString) -> Bool {
        let count = ending.utf8CodeUnitCount
        guard range.count >= count else { return false }
        return ASCII.equalsIgnoringCase(word.extracting(range.upperBound - count..<range.upperBound), ending)
    }
}
