/// The claims of a token that is about to be signed: members of an object, where a later one replaces an earlier.
struct Claims: Equatable {
    private(set) var members: [JSONTree.Member] = []

    /// What is wrong with a claim on the command line.
    struct Failure: Error, Equatable {
        let message: String
    }

    /// No claims.
    init() {}

    /// Sets a claim, and replaces one of the same name.
    mutating func set(_ name: String, _ value: JSONTree) {
        set(JSONTree.Member(name: JSONTree(string: name).compact(), value: value))
    }

    /// Takes all members of a JSON object.
    mutating func merge(json: String) throws(Failure) {
        guard case .object(let new) = JSONTree(parsing: Array(json.utf8)) else {
            throw Failure(message: "--claims-json must be a JSON object, such as '{\"role\":\"admin\"}'")
        }
        for member in new { set(member) }
    }

    /// Takes `name=text` or `name:=json`. `exp`, `nbf` and `iat` are numbers either way (RFC 7519 section 4.1).
    mutating func merge(argument: String) throws(Failure) {
        guard let equals = argument.firstIndex(of: "="), equals > argument.startIndex else {
            throw Failure(message: "--claim must be name=value or name:=json, not \"\(argument)\"")
        }
        var name = argument[..<equals]
        let text = String(argument[argument.index(after: equals)...])
        if name.last == ":" {
            name.removeLast()
            guard !name.isEmpty, let value = JSONTree(parsing: Array(text.utf8)) else {
                throw Failure(
                    message: "--claim \(argument): what follows := is not JSON; quote strings, or write =")
            }
            return set(String(name), value)
        }
        if ["exp", "nbf", "iat"].contains(name), let seconds = Int64(text) {
            return set(String(name), JSONTree(integer: seconds))
        }
        set(String(name), JSONTree(string: text))
    }

    /// The object as the token's payload.
    var payload: [UInt8] { JSONTree.object(members).compact() }

    private mutating func set(_ member: JSONTree.Member) {
        if let index = members.firstIndex(where: { $0.name == member.name }) {
            members[index] = member
        } else {
            members.append(member)
        }
    }
}
