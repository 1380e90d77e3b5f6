internal import Bytes
internal import HTTP

/// What an answer says to pages of other origins. Found once, when the request is decided on; whoever writes the answer,
/// the backend's or the proxy's own, in either version, only writes it down.
public struct CrossOriginAnswer: Sendable, BitwiseCopyable {
    /// The route has a rule: the backend's own `Access-Control-…` fields are left out, so that there is exactly one.
    public let isRuled: Bool
    /// The answer depends on `Origin`, which caches must know: `Vary` says so, also where nobody asked from afar.
    public let variesByOrigin: Bool
    /// The place of the lines, or -1 where the origin is not listed.
    let entry: Int32

    /// The route has no rule: an answer passes as the backend made it.
    public static var none: CrossOriginAnswer {
        CrossOriginAnswer(isRuled: false, variesByOrigin: false, entry: -1)
    }

    /// True where the page that asks may read the answer.
    public var isGranted: Bool { entry >= 0 }
}

/// The rules of all `[cors.NAME]` with their lines ready-made.
struct CrossOriginTable: ~Copyable {
    struct Rule: BitwiseCopyable {
        /// Places in `entries`; for every page it is one.
        let entries: ByteRange
        let isForEveryOrigin: Bool
        let preflightLines: ByteRange
    }

    struct Entry: BitwiseCopyable {
        let origin: ByteRange
        let lines: ByteRange
    }

    private var rules: FixedArray<Rule>
    private var entries: FixedArray<Entry>
    private var texts = ByteArray()

    init(_ specs: [CrossOriginSpec]) throws(PolicyError) {
        rules = FixedArray(capacity: max(specs.count, 1))
        entries = FixedArray(capacity: max(specs.reduce(0) { $0 + $1.origins.count }, 1))
        for spec in specs {
            guard spec.isSound else { throw .badCrossOrigin(spec.name) }
            append(spec)
        }
    }

    private mutating func append(_ spec: CrossOriginSpec) {
        let first = entries.count
        for origin in spec.origins {
            _ = entries.append(Entry(origin: add(origin), lines: add(spec.lines(for: origin))))
        }
        let range = ByteRange(from: first, to: entries.count)
        let preflightLines = add(spec.preflightLines)
        _ = rules.append(
            Rule(
                entries: range, isForEveryOrigin: spec.allowsEveryOrigin, preflightLines: preflightLines))
    }

    private mutating func add(_ text: String) -> ByteRange {
        let start = texts.count
        texts.append(Array(text.utf8).span)
        return texts.range(since: start)
    }

    /// What the rule says to whoever sends this request. Origins are compared byte for byte: neither a longer host that
    /// ends alike, nor another port, nor `null` is the same.
    func answer(
        _ rule: Int, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> CrossOriginAnswer {
        let rule = rules[rule]
        guard !rule.isForEveryOrigin else {
            return CrossOriginAnswer(isRuled: true, variesByOrigin: false, entry: rule.entries.start)
        }
        var found: Int32 = -1
        if head.originIndex >= 0 {
            let origin = bytes.slice(head.fields[Int(head.originIndex)].valueRange)
            for index in rule.entries.bounds where ASCII.equals(origin, texts.span(entries[index].origin)) {
                found = Int32(index)
                break
            }
        }
        return CrossOriginAnswer(isRuled: true, variesByOrigin: true, entry: found)
    }

    @_lifetime(borrow self)
    func lines(_ answer: CrossOriginAnswer) -> Span<UInt8> {
        guard answer.isGranted else { return Span() }
        return texts.span(entries[Int(answer.entry)].lines)
    }

    @_lifetime(borrow self)
    func preflightLines(_ rule: Int) -> Span<UInt8> { texts.span(rules[rule].preflightLines) }
}

extension PolicySnapshot {
    /// The lines for a page that may read the answer, each with CRLF, at most `CrossOriginSpec.maximumLineBytes`; empty
    /// for everybody else. `answer` is one of this snapshot's.
    @_lifetime(borrow self)
    public func crossOriginLines(_ answer: CrossOriginAnswer) -> Span<UInt8> { crossOrigins.lines(answer) }
}

/// `Vary` of an answer that depends on `Origin` (RFC 9110 §12.5.5).
enum VaryField {
    /// The size of a line of its own, or of what a backend's line gains, in bytes.
    static var addedByteCount: Int { "Vary: , Origin\r\n".utf8.count }

    /// Writes the backend's `Vary`, all its lines as one, and `Origin` where it is not there yet.
    static func append(of head: borrowing ResponseHead, _ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        var hasOrigin = false
        var isFirst = true
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.name == .vary, line.flags.isDisjoint(with: .removedFromResponse),
                !line.valueRange.isEmpty
            else { continue }
            HeaderWriter.put(isFirst ? "Vary: " : ", ", &buffer)
            HeaderWriter.put(bytes.slice(line.valueRange), &buffer)
            isFirst = false
            if namesOrigin(line.valueRange, bytes) { hasOrigin = true }
        }
        if !hasOrigin { HeaderWriter.put(isFirst ? "Vary: Origin" : ", Origin", &buffer) }
        HeaderWriter.put("\r\n", &buffer)
    }

    private static func namesOrigin(_ value: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        var names = ListElements(value)
        while let name = names.next(bytes) {
            let text = bytes.slice(name)
            if ASCII.equalsIgnoringCase(text, "origin") || ASCII.equals(text, "*") { return true }
        }
        return false
    }
}

extension FieldLine {
    /// True for what a server says to browsers about other origins: `Access-Control-…`, also what is not known yet.
    func isAboutOtherOrigins(_ bytes: Span<UInt8>) -> Bool {
        switch name {
        case .accessControlAllowOrigin, .accessControlAllowMethods, .accessControlAllowHeaders,
            .accessControlAllowCredentials, .accessControlExposeHeaders, .accessControlMaxAge:
            return true
        case .other:
            let prefix: StaticString = "access-control-"
            let count = prefix.utf8CodeUnitCount
            let text = bytes.slice(nameRange)
            return text.count > count && ASCII.equalsIgnoringCase(text.extracting(0..<count), prefix)
        default: return false
        }
    }
}
