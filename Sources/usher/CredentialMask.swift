import Config
import Control
import Policy

/// Takes everything out of a text that whoever reads it could log in with.
struct CredentialMask {
    private static let fields = [
        "authorization", "proxy-authorization", "cookie", "set-cookie", "dpop", "x-api-key",
    ]
    /// What stands for it.
    static let mark = "…"
    private var secrets: [String] = []
    private let parameters: [String]

    /// The mask for all that is said of a request.
    init(_ request: ImaginedRequest, _ configuration: Configuration) {
        parameters = configuration.issuers.flatMap(\.tokenFrom).compactMap {
            if case .query(let name) = $0 { name } else { nil }
        }
        for field in request.fields where Self.fields.contains(field.name.lowercased()) {
            secrets += Self.values(of: field).flatMap { $0.split { " ;=,".contains($0) } }
                .map(String.init).filter { $0.count >= 16 }
        }
    }

    /// What of a field is a credential: of cookies not the names, by which people find their mistakes.
    private static func values(of field: (name: String, value: String)) -> [Substring] {
        guard field.name.lowercased() == "cookie" else { return [field.value[...]] }
        return field.value.split(separator: ";").map { pair in
            guard let sign = pair.firstIndex(of: "=") else { return pair }
            return pair[pair.index(after: sign)...]
        }
    }

    /// A text without tokens.
    func text(_ text: String) -> String {
        var text = text
        for parameter in parameters { text = Self.maskParameter(parameter, in: text) }
        for secret in secrets { text = Self.replace(secret, in: text) }
        return Self.maskTokens(in: text)
    }

    /// A field line, where the whole value of some is nobody's business.
    func line(_ line: String) -> String {
        guard let colon = line.firstIndex(of: ":") else { return text(line) }
        let name = line[..<colon].lowercased()
        let value = line[line.index(after: colon)...].drop { $0 == " " }
        guard Self.fields.contains(name) else { return text(line) }
        return "\(line[..<colon]): " + (name == "cookie" ? Self.cookies(value) : Self.credentials(value))
    }

    /// The scheme alone.
    private static func credentials(_ value: Substring) -> String {
        guard let space = value.firstIndex(of: " ") else { return mark }
        return value[...space] + mark
    }

    /// The names alone.
    private static func cookies(_ value: Substring) -> String {
        value.split(separator: ";").map { pair in
            let name = pair.drop { $0 == " " }.prefix { $0 != "=" }
            return "\(name)=\(mark)"
        }.joined(separator: "; ")
    }

    private static func maskParameter(_ name: String, in text: String) -> String {
        guard let query = text.firstIndex(of: "?") else { return text }
        let parameters = text[text.index(after: query)...].split(
            separator: "&", omittingEmptySubsequences: false)
        return text[...query]
            + parameters.map { $0.hasPrefix("\(name)=") ? "\(name)=\(mark)" : String($0) }.joined(
                separator: "&")
    }

    private static func replace(_ secret: String, in text: String) -> String {
        var rest = Substring(text)
        var result = ""
        while let range = rest.firstRange(of: secret) {
            result += rest[..<range.lowerBound] + mark
            rest = rest[range.upperBound...]
        }
        return result + rest
    }

    /// Whatever looks like a JOSE token (`eyJ…`), wherever it stands.
    private static func maskTokens(in text: String) -> String {
        var rest = Substring(text)
        var result = ""
        while let start = rest.firstRange(of: "eyJ") {
            let run = rest[start.lowerBound...].prefix { character in
                character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character))
            }
            result += rest[..<start.lowerBound]
            result += run.contains(".") ? Substring("eyJ\(mark)") : run
            rest = rest[run.endIndex...]
        }
        return result + rest
    }
}
