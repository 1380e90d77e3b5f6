public import Bytes
public import HTTP

/// The fields of a backend's answer on their way to the client.
public enum ResponseFields {
    /// Adds the field lines for the client, each with CRLF, without the empty line behind them: all but those that
    /// are meant for this connection or frame the message, which the caller writes, and `Via` and `X-Request-Id`.
    ///
    /// Where the route has a rule for other origins, `crossOriginLines` take the place of what the backend says about
    /// them, and `Vary` names Origin.
    ///
    /// `isPersonal` is an answer to which the caller adds cookies: whatever the backend says of caches, it does not know of
    /// them, so that a shared cache would hand somebody's session to everybody (RFC 9111 §7.3).
    ///
    /// False, and nothing is written, where they might not fit into the buffer's room.
    public static func append(
        of head: borrowing ResponseHead, bytes: Span<UInt8>, requestID: Span<UInt8>,
        crossOrigin: CrossOriginAnswer = .none, crossOriginLines: Span<UInt8> = Span(),
        isPersonal: Bool = false, to buffer: inout Buffer
    ) -> Bool {
        let bound =
            HeaderWriter.bound(head.fields) + requestID.count + crossOriginLines.count
            + HeaderWriter.addedByteCount
        guard buffer.room >= bound else { return false }
        appendKept(head, bytes, crossOrigin, isPersonal, &buffer)
        if isPersonal { HeaderWriter.put("Cache-Control: private, no-store\r\n", &buffer) }
        if crossOrigin.isRuled {
            if crossOrigin.variesByOrigin { VaryField.append(of: head, bytes, &buffer) }
            HeaderWriter.put(crossOriginLines, &buffer)
        }
        HeaderWriter.put(HeaderWriter.via(head.version), &buffer)
        HeaderWriter.put("X-Request-Id: ", requestID, &buffer)
        return true
    }

    private static func appendKept(
        _ head: borrowing ResponseHead, _ bytes: Span<UInt8>, _ crossOrigin: CrossOriginAnswer,
        _ isPersonal: Bool, _ buffer: inout Buffer
    ) {
        var run = KeptRun()
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.flags.isDisjoint(with: .removedFromResponse), line.name != .xRequestID else {
                continue
            }
            if isPersonal, line.isAboutCaches(bytes) { continue }
            if crossOrigin.isRuled {
                guard !line.isAboutOtherOrigins(bytes), line.name != .vary || !crossOrigin.variesByOrigin
                else { continue }
            }
            run.keep(line, bytes, &buffer)
        }
        run.flush(bytes, &buffer)
    }

    /// Adds the trailer lines of an answer that may go to the client; false, and nothing is written, where they
    /// might not fit.
    public static func appendTrailers(
        _ fields: borrowing FieldTable, bytes: Span<UInt8>, to buffer: inout Buffer
    ) -> Bool {
        guard buffer.room >= HeaderWriter.bound(fields) else { return false }
        let removed = FieldFlags.removedFromResponse.union(.forbiddenInTrailers)
        var run = KeptRun()
        for index in 0..<fields.count where fields[index].flags.isDisjoint(with: removed) {
            run.keep(fields[index], bytes, &buffer)
        }
        run.flush(bytes, &buffer)
        return true
    }
}

extension FieldLine {
    /// True for what tells a cache to keep an answer: `Cache-Control` and those for some caches alone (RFC 9213: their names
    /// end with it), `Expires`, and the older ones of single products, which count before both there.
    func isAboutCaches(_ bytes: Span<UInt8>) -> Bool {
        guard name != .cacheControl else { return true }
        guard name == .other else { return false }
        let text = bytes.slice(nameRange)
        let suffix: StaticString = "-cache-control"
        let count = suffix.utf8CodeUnitCount
        return text.count > count
            && ASCII.equalsIgnoringCase(text.extracting(droppingFirst: text.count - count), suffix)
            || ASCII.equalsIgnoringCase(text, "expires")
            || ASCII.equalsIgnoringCase(text, "surrogate-control")
            || ASCII.equalsIgnoringCase(text, "edge-control")
            || ASCII.equalsIgnoringCase(text, "x-accel-expires")
    }
}
