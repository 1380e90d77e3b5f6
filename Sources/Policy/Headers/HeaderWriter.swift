internal import Bytes
internal import HTTP

/// Lines that are kept and follow one another in the client's head: copied at once.
struct KeptRun {
    private var range = ByteRange.empty

    /// Adds a line to the run, or begins a new one.
    @inline(__always)
    mutating func keep(_ line: FieldLine, _ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        guard line.isCanonical else {
            flush(bytes, &buffer)
            HeaderWriter.put(bytes.slice(line.nameRange), &buffer)
            HeaderWriter.put(": ", bytes.slice(line.valueRange), &buffer)
            return
        }
        if range.isEmpty || Int(line.lineRange.start) != range.end {
            flush(bytes, &buffer)
            range = line.lineRange
        } else {
            range.count &+= line.lineRange.count
        }
    }

    /// Copies what is in the run.
    mutating func flush(_ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        guard !range.isEmpty else { return }
        HeaderWriter.put(bytes.slice(range), &buffer)
        range = .empty
    }
}

/// Writes into a buffer whose room was checked before: what does not fit then is our own bug.
enum HeaderWriter {
    /// The names and fixed texts that are written besides what is counted, in bytes: about 300, and room to spare.
    static var addedByteCount: Int { 768 }
    /// The most of a host that a trusted peer names in `Forwarded` and that is written once more.
    static var forwardedHostBytes: Int { HeadLimits.hostBytes + ":65535".utf8.count }

    /// The most that the lines of a table can take, in bytes.
    static func bound(_ fields: borrowing FieldTable) -> Int {
        var bound = 0
        for index in 0..<fields.count { bound &+= Int(fields[index].lineRange.count) &+ 1 }
        return bound
    }

    /// The `Via` line for a message that came in this version (RFC 9110 §7.6.3).
    static func via(_ version: HTTPVersion) -> StaticString {
        switch version {
        case .http10: "Via: 1.0 usher\r\n"
        case .http11: "Via: 1.1 usher\r\n"
        case .http2: "Via: 2 usher\r\n"
        }
    }

    @inline(__always)
    static func put(_ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        let fits = buffer.append(bytes)
        precondition(fits, "the room was checked")
    }

    @inline(__always)
    static func put(_ text: StaticString, _ buffer: inout Buffer) {
        let fits = buffer.append(text)
        precondition(fits, "the room was checked")
    }

    /// Writes a whole line.
    @inline(__always)
    static func put(_ name: StaticString, _ value: Span<UInt8>, _ buffer: inout Buffer) {
        put(name, &buffer)
        put(value, &buffer)
        put("\r\n", &buffer)
    }

    /// Writes an address.
    static func put(_ address: IPAddress, _ buffer: inout Buffer) {
        let text = PeerFacts(address: address, listener: -1, isSecure: false)
        put(text.addressText, &buffer)
    }

    /// Writes the values of all lines of that name as one list (RFC 9110 §5.3).
    static func putValues(
        of name: FieldName, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ buffer: inout Buffer
    ) {
        var isFirst = true
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.name == name, !line.valueRange.isEmpty, !line.flags.contains(.nominated) else {
                continue
            }
            if !isFirst { put(", ", &buffer) }
            isFirst = false
            put(bytes.slice(line.valueRange), &buffer)
        }
    }

    /// Writes this hop's element of `Forwarded` (RFC 7239 §4) and the end of the line.
    static func putForwardedElement(_ peer: PeerFacts, _ host: Span<UInt8>, _ buffer: inout Buffer) {
        let address = peer.addressText
        if address.count == 0 {
            put("for=unknown", &buffer)
        } else if peer.address.isV4 {
            put("for=", &buffer)
            put(address, &buffer)
        } else {
            put("for=\"[", &buffer)
            put(address, &buffer)
            put("]\"", &buffer)
        }
        if host.count > 0 {
            // The parser let in letters, digits, "-", "_", ".", ":" and brackets: nothing that ends a quoted string.
            put(";host=\"", &buffer)
            put(host, &buffer)
            put("\"", &buffer)
        }
        put(peer.isSecure ? ";proto=https\r\n" : ";proto=http\r\n", &buffer)
    }
}
