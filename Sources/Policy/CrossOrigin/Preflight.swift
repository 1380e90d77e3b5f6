public import Bytes
internal import HTTP

/// A method that routes are looked up by: the request's own, or the one that a preflight asks about.
struct SoughtMethod: BitwiseCopyable {
    let method: Method
    /// Where its name stands in the head's bytes.
    let text: ByteRange

    init(of head: borrowing RequestHead) {
        method = head.method
        text = head.methodRange
    }

    /// Nil for what is no method of a request: no token, CONNECT, TRACE.
    init?(named text: ByteRange, _ bytes: Span<UInt8>) {
        let name = bytes.slice(text)
        guard name.count > 0, ASCII.endOfToken(name, from: 0) == name.count else { return nil }
        method = Method(bytes, text)
        guard method != .connect, method != .trace else { return nil }
        self.text = text
    }
}

extension PolicySnapshot {
    /// The answer to a preflight (Fetch, CORS-preflight request): OPTIONS with one Origin and one
    /// Access-Control-Request-Method, for a route with a rule that serves the *requested* method at this path. Browsers
    /// send no credentials with it, so none are asked for.
    ///
    /// Nil for every other OPTIONS, which is decided on like any request: "skip preflights" must not become "skip
    /// OPTIONS" (P7).
    func preflight(
        _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>
    ) -> Rejection? {
        guard head.originIndex >= 0, let range = Self.requestedMethod(head),
            let sought = SoughtMethod(named: range, bytes)
        else { return nil }
        var captures = Captures(repeating: .empty)
        let place = routes.match(target, sought, head, bytes, &captures)
        guard place >= 0 else { return nil }
        let route = routes.route(place)
        guard route.crossOrigin >= 0 else { return nil }
        let said = crossOrigins.answer(Int(route.crossOrigin), head, bytes)
        var answer = Rejection(said.isGranted ? .ok : .originRefused, route: Int(route.specIndex))
        answer.crossOrigin = said
        if said.isGranted { answer.form = .preflight(rule: route.crossOrigin) }
        return answer
    }

    /// The value of Access-Control-Request-Method, of which a head that was let in has one at most (H7).
    private static func requestedMethod(_ head: borrowing RequestHead) -> ByteRange? {
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            if line.name == .accessControlRequestMethod, !line.flags.contains(.alias) {
                return line.valueRange
            }
        }
        return nil
    }

    /// Adds the lines that only the answer to a preflight has, at most `CrossOriginSpec.maximumPreflightBytes`; false
    /// where they do not fit, or the answer is no such one.
    public func appendPreflight(_ rejection: Rejection, to buffer: inout Buffer) -> Bool {
        guard case .preflight(let rule) = rejection.form else { return false }
        return buffer.append(crossOrigins.preflightLines(Int(rule)))
    }
}
