import Config
import Proxy
import Telemetry

/// A configuration as it is in force, defaults included, as JSON: every property of every value, under the name that
/// it has in the file as far as it is one there.
///
/// A `Secret` shows only that it is there; other bytes (keys, certificates) show how many they are.
enum EffectiveConfiguration {
    /// The object, with a line feed at its end.
    static func json(_ configuration: Configuration) -> String { value(configuration, 0) + "\n" }

    /// More is no configuration; it bounds the recursion.
    private static let deepest = 32

    private static func value(_ any: Any, _ depth: Int) -> String {
        guard depth < deepest else { return "null" }
        switch any {
        case is Secret: return "\"<secret>\""
        // By its type: to `as`, an empty list of anything is one of bytes.
        case let bytes as [UInt8] where type(of: any) == [UInt8].self: return "\"<\(bytes.count) bytes>\""
        case let text as String: return JSONText.quoted(text)
        case let truth as Bool: return truth ? "true" : "false"
        case let number as any BinaryInteger: return "\(number)"
        case let number as Double: return "\(number)"
        case let duration as Duration: return "\"\(duration.wholeMilliseconds)ms\""
        case let address as EndpointAddress: return JSONText.quoted(address.description)
        case let range as AddressRange: return JSONText.quoted(range.description)
        // Without what a query says, which may be a key.
        case let url as RemoteURL: return JSONText.quoted(url.place)
        case let path as PathPattern: return JSONText.quoted(path.text)
        case let expectation as ClaimExpectation: return JSONText.quoted(expectation.text)
        case let protocols as ProtocolSet: return names(of: protocols)
        default: return composite(any, depth)
        }
    }

    private static func composite(_ any: Any, _ depth: Int) -> String {
        let mirror = Mirror(reflecting: any)
        switch mirror.displayStyle {
        case .optional: return mirror.children.first.map { value($0.value, depth) } ?? "null"
        case .collection, .set:
            return "[" + mirror.children.map { value($0.value, depth + 1) }.joined(separator: ",") + "]"
        case .enum: return enumeration(any, mirror, depth)
        case .struct, .tuple, .class:
            let members = mirror.children.compactMap { child in
                child.label.flatMap { label -> String? in
                    if isPlace(child.value) { return nil }
                    let shown = isSecretName(label) ? "\"<secret>\"" : value(child.value, depth + 1)
                    return "\(JSONText.quoted(fileName(label))):\(shown)"
                }
            }
            return "{" + members.joined(separator: ",") + "}"
        default: return "null"
        }
    }

    private static func names(of protocols: ProtocolSet) -> String {
        let known: [(ProtocolSet, String)] = [(.http2, "h2"), (.http1, "http/1.1")]
        let spoken = known.filter { protocols.contains($0.0) }.map { JSONText.quoted($0.1) }
        return "[" + spoken.joined(separator: ",") + "]"
    }

    /// A case alone is its name; one with values is an object with one member.
    private static func enumeration(_ any: Any, _ mirror: Mirror, _ depth: Int) -> String {
        if let raw = any as? any RawRepresentable, let text = raw.rawValue as? String {
            return JSONText.quoted(text)
        }
        guard let child = mirror.children.first, let label = child.label else {
            return JSONText.quoted(fileName("\(any)"))
        }
        return "{\(JSONText.quoted(fileName(label))):\(value(child.value, depth + 1))}"
    }

    /// Where something stands in the file says nothing of what is in force.
    private static func isPlace(_ any: Any) -> Bool { any is SourcePosition }

    /// A text that is called so is one, whatever its type.
    private static func isSecretName(_ label: String) -> Bool {
        let name = label.lowercased()
        return name.contains("secret") || name.contains("password") || name.contains("passphrase")
    }

    /// `connectTimeout` is `connect_timeout` in the file.
    private static func fileName(_ label: String) -> String {
        var name = ""
        for character in label {
            if character.isUppercase { name += "_" }
            name += character.lowercased()
        }
        return name
    }
}
