/// Tokens that are refused though everything about them holds: by their `jti`, or all of a subject that were issued
/// before some moment.
///
/// Never by their bytes: the same token can be written in more than one way (rule J8).
public struct RevocationList: Sendable, Equatable {
    /// The largest text that is read, in bytes: about 100,000 entries.
    public static let largestByteCount = 4 << 20
    /// A node takes a byte of the text at least, so that one entry does not take memory for a hundred thousand.
    private static func limits(_ byteCount: Int) -> JSONLimits {
        JSONLimits(depth: 4, nodes: min(400_000, byteCount + 1), members: 100_000)
    }

    /// The issuers whose tokens with this `jti` are revoked; nil stands for every issuer.
    private var tokens: [[UInt8]: Set<[UInt8]?>] = [:]
    /// Tokens of this subject that were issued before this Unix second are revoked.
    private var subjects: [[UInt8]: Int64] = [:]

    /// Nothing is revoked.
    public init() {}

    /// Reads `{"jti": ["a", {"iss": "https://issuer", "jti": "b"}], "sub": {"user": 1769299200}}`; each member may be
    /// missing. Nil where the text is anything else: a list that is not understood must not pass for an empty one.
    public init?(_ text: [UInt8]) {
        guard text.count <= Self.largestByteCount else { return nil }
        var document = JSONDocument(capacity: text.count, limits: Self.limits(text.count))
        guard document.load(text.span) else { return nil }
        var next = document.firstChild(of: 0)
        while let name = next {
            let isRead: Bool
            switch document.copy(of: name) {
            case Self.jti: isRead = readTokens(name + 1, document)
            case Self.sub: isRead = readSubjects(name + 1, document)
            default: isRead = false
            }
            guard isRead else { return nil }
            next = document.sibling(after: name + 1, in: 0)
        }
    }

    /// How many entries there are.
    public var count: Int { tokens.values.reduce(subjects.count) { $0 + $1.count } }

    /// The latest of the moments before which a subject's tokens are revoked, in seconds since 1970; nil without any.
    public var latestMoment: Int64? { subjects.values.max() }

    /// True where nothing is revoked.
    public var isEmpty: Bool { tokens.isEmpty && subjects.isEmpty }

    /// The entries one by one, each as a text that `init(_:)` reads: to be kept one by one elsewhere.
    public var entries: [[UInt8]] {
        var texts: [[UInt8]] = []
        for (token, issuers) in self.tokens {
            for issuer in issuers {
                var text = Array("{\"jti\":[".utf8)
                if let issuer {
                    text += Array("{\"iss\":".utf8)
                    JSONWriter.append(string: issuer.span, to: &text)
                    text += Array(",\"jti\":".utf8)
                }
                JSONWriter.append(string: token.span, to: &text)
                texts.append(text + Array((issuer == nil ? "]}" : "}]}").utf8))
            }
        }
        for (subject, before) in subjects {
            var text = Array("{\"sub\":{".utf8)
            JSONWriter.append(string: subject.span, to: &text)
            text.append(UInt8(ascii: ":"))
            JSONWriter.append(integer: before, to: &text)
            texts.append(text + Array("}}".utf8))
        }
        return texts
    }

    /// Takes in the entries of another list; of two moments for one subject the later one stays.
    public mutating func formUnion(_ other: RevocationList) {
        Self.merge(other.tokens, into: &tokens) { $0.union($1) }
        Self.merge(other.subjects, into: &subjects) { max($0, $1) }
    }

    /// The fewer go to the more: a list of a hundred thousand is put together again for each entry that is new.
    private static func merge<Value>(
        _ other: [[UInt8]: Value], into own: inout [[UInt8]: Value], _ both: (Value, Value) -> Value
    ) {
        guard own.count < other.count else { return own.merge(other, uniquingKeysWith: both) }
        let fewer = own
        own = other
        own.merge(fewer, uniquingKeysWith: both)
    }

    /// True where a token with these claims is revoked. A token without `iat` counts as issued before everything;
    /// `issuer` nil = it was not checked, and then an entry of any issuer is about it.
    public func revokes(issuer: [UInt8]?, tokenID: [UInt8]?, subject: [UInt8], issuedAt: Int64?) -> Bool {
        if let before = subjects[subject], issuedAt.map({ $0 < before }) ?? true { return true }
        guard let tokenID, let issuers = tokens[tokenID] else { return false }
        return issuer == nil || issuers.contains(nil) || issuers.contains(issuer)
    }

    private mutating func readTokens(_ list: Int, _ document: borrowing JSONDocument) -> Bool {
        guard document.node(list).kind == .array else { return false }
        var element = document.firstChild(of: list)
        while let node = element {
            switch document.node(node).kind {
            case .string: tokens[document.copy(of: node), default: []].insert(nil)
            case .object:
                guard document.node(node).count == 2, let issuer = document.member(Self.iss.span, of: node),
                    let token = document.member(Self.jti.span, of: node),
                    document.node(issuer).kind == .string, document.node(token).kind == .string
                else { return false }
                tokens[document.copy(of: token), default: []].insert(document.copy(of: issuer))
            default: return false
            }
            element = document.sibling(after: node, in: list)
        }
        return true
    }

    private mutating func readSubjects(_ object: Int, _ document: borrowing JSONDocument) -> Bool {
        guard document.node(object).kind == .object else { return false }
        var member = document.firstChild(of: object)
        while let name = member {
            guard document.node(name + 1).kind == .number,
                let before = JSONNumber.seconds(document.bytes(of: name + 1))
            else { return false }
            subjects[document.copy(of: name)] = before
            member = document.sibling(after: name + 1, in: object)
        }
        return true
    }

    private static let jti = Array("jti".utf8)
    private static let sub = Array("sub".utf8)
    private static let iss = Array("iss".utf8)
}
