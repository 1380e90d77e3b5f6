import Bytes
import HTTP
import HTTP1

/// A whole response.
struct FetchAnswer {
    var status: UInt16
    var body: [UInt8]
    var location: String?
    /// For how many seconds from now it is fresh, where the server says so.
    var maximumAge: Int64?
    /// The server's time of day, in seconds since 1970, where it tells it.
    var dateSeconds: Int64?
    /// The values of `Set-Cookie`.
    var setCookies: [[UInt8]] = []
    /// How long to wait before another try, where the server says so.
    var retryAfterSeconds: Int64?
    /// The connection may carry another request.
    var isPersistent = false
}

/// Puts a response together from pieces.
struct ResponseReader: ~Copyable {
    private var received: [UInt8] = []
    private var head = ResponseHead(fieldCapacity: ResponseReader.limits.fieldCount)
    private var parser = ResponseHeadParser()
    private var decoder: BodyDecoder?
    private var answer = FetchAnswer(status: 0, body: [])

    private var interimCount = 0
    /// The most interim responses in front of an answer; nobody sends more than one or two.
    private static let largestInterimCount = 32

    /// Of a head: key servers behind application servers send cookies and policies.
    private static var limits: HeadLimits { HeadLimits(headBytes: 32_768, fieldCount: 256) }

    /// Takes in bytes; the answer when it is complete.
    mutating func take(_ bytes: Span<UInt8>) throws(FetchFailure) -> FetchAnswer? {
        for index in bytes.indices { received.append(bytes[index]) }
        while decoder == nil {
            guard try readHead() else { return nil }
        }
        return try readBody()
    }

    /// The server sends no more; `isAuthentic`: nobody else can have cut the connection without being noticed, or
    /// nothing is protected anyway.
    mutating func endOfInput(isAuthentic: Bool) throws(FetchFailure) -> FetchAnswer? {
        guard let decoder, decoder.framing == .untilClose, isAuthentic else {
            throw FetchFailure("the connection ended before the answer did")
        }
        return answer
    }

    /// Reads a head; true where there was one, which may be that of an interim response.
    private mutating func readHead() throws(FetchFailure) -> Bool {
        var parser = parser
        let bytes = received
        let result = parser.parse(bytes.span, into: &head, requestMethod: .get, limits: Self.limits)
        self.parser = parser
        switch result {
        case .incomplete: return false
        case .refused(let fault): throw FetchFailure("the answer is not HTTP: \(fault)")
        case .complete: break
        }
        guard !head.isUpgrade else { throw FetchFailure("the answer has status 101") }
        if head.isInformational {
            interimCount += 1
            guard interimCount <= Self.largestInterimCount else {
                throw FetchFailure("interim responses without end")
            }
        } else {
            note()
            decoder = BodyDecoder(head.framing)
        }
        received.removeFirst(head.byteCount)
        self.parser = ResponseHeadParser()
        return true
    }

    private mutating func note() {
        answer.status = head.status
        answer.isPersistent = head.isPersistent
        var age: Int64?
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            switch text(line.nameRange).lowercased() {
            case "age": age = age ?? CacheControl.age(text(line.valueRange))
            case "date": answer.dateSeconds = HTTPDate.seconds(text(line.valueRange))
            case "location": answer.location = text(line.valueRange)
            case "retry-after": answer.retryAfterSeconds = Int64(text(line.valueRange))
            case "set-cookie": answer.setCookies.append(Array(received[line.valueRange.bounds]))
            case "cache-control":
                answer.maximumAge = CacheControl.maximumAge(text(line.valueRange)) ?? answer.maximumAge
            default: break
            }
        }
        if let maximum = answer.maximumAge { answer.maximumAge = max(0, maximum - (age ?? 0)) }
    }

    private func text(_ range: ByteRange) -> String {
        String(decoding: received[range.bounds], as: UTF8.self)
    }

    private mutating func readBody() throws(FetchFailure) -> FetchAnswer? {
        guard var decoder else { return nil }
        defer { self.decoder = decoder }
        if case .length(let length) = decoder.framing, length > UInt64(DocumentFetch.largestBodyBytes) {
            throw FetchFailure("the answer is larger than 256 KiB (J10)")
        }
        let bytes = received
        var offset = 0
        while true {
            switch decoder.next(bytes.span, &offset) {
            case .data(let range):
                answer.body += bytes[range.bounds]
                guard answer.body.count <= DocumentFetch.largestBodyBytes else {
                    throw FetchFailure("the answer is larger than 256 KiB (J10)")
                }
            case .needMore:
                received.removeFirst(offset)
                guard received.count <= Self.limits.headBytes else { throw FetchFailure("endless trailers") }
                return nil
            case .end:
                // What nobody asked for belongs to no request.
                if offset < bytes.count { answer.isPersistent = false }
                return answer
            case .malformed(let fault): throw FetchFailure("the answer is not HTTP: \(fault)")
            }
        }
    }
}

/// What of caching (RFC 9111) matters for keys: a directive of `Cache-Control` (§5.2.2), and `Age`.
enum CacheControl {
    /// The seconds of `max-age`; nil where there is none, or no number.
    static func maximumAge(_ value: String) -> Int64? {
        for directive in value.split(separator: ",") {
            let parts = directive.split(separator: "=", maxSplits: 1).map {
                $0.filter { $0 != " " && $0 != "\t" }
            }
            guard parts.count == 2, parts[0].lowercased() == "max-age" else { continue }
            return seconds(parts[1].filter { $0 != "\"" })
        }
        return nil
    }

    /// How long a cache on the way has held an answer (RFC 9111 §5.1), in seconds: the first value counts; nil for what is no
    /// number, which is ignored.
    static func age(_ value: String) -> Int64? {
        seconds(value.prefix { $0 != "," }.filter { $0 != " " && $0 != "\t" })
    }

    private static func seconds(_ digits: String) -> Int64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy(ASCII.isDigit) else { return nil }
        return Int64(digits) ?? .max
    }
}
