import Bytes

/// What the Connection fields of a message say (RFC 9110 §7.6.1).
struct ConnectionOptions {
    private(set) var close = false
    private(set) var keepAlive = false
    private(set) var upgrade = false
    /// True where an option may name a field.
    private var nominates = false
    /// True where an option names a field of which nobody knows otherwise that it goes no further: it does not in a
    /// trailer section either.
    private(set) var nominatesMore = false
    private var count = 0

    /// Takes a Connection line.
    mutating func add(_ bytes: Span<UInt8>, _ value: ByteRange) -> MessageFault? {
        var elements = ListElements(value)
        while let option = elements.next(bytes) {
            if option.isEmpty { continue }
            count += 1
            guard count <= HeadLimits.connectionOptions,
                ASCII.endOfToken(bytes, from: Int(option.start)) >= option.end
            else { return .badConnection }
            if !add(option: bytes.slice(option)) {
                nominates = true
                let flags = FieldName.lookUp(bytes, option).name.flags
                if flags.isDisjoint(with: [.hopByHop, .framing]) { nominatesMore = true }
            }
        }
        return nil
    }

    /// False for what may name a field.
    private mutating func add(option: Span<UInt8>) -> Bool {
        if ASCII.equalsIgnoringCase(option, "keep-alive") {
            keepAlive = true
        } else if ASCII.equalsIgnoringCase(option, "close") {
            close = true
        } else if ASCII.equalsIgnoringCase(option, "upgrade") {
            upgrade = true
        } else {
            return false
        }
        return true
    }

    /// Whether the connection outlives the message (RFC 9112 §9.3).
    func isPersistent(_ version: HTTPVersion) -> Bool {
        switch version {
        case .http10: keepAlive && !close
        case .http11: !close
        case .http2: true
        }
    }

    /// Marks the lines that an option nominates, so that they are not passed on (rule H5).
    ///
    /// A nomination takes a peer's own field away from what is passed on and does nothing else: what the proxy adds
    /// comes later, and what it decides on, such as Authorization, it still reads. Host and the framing fields cannot
    /// be nominated away (RFC 9110 §7.6.1: options that name end-to-end fields for all recipients are an error); the
    /// proxy writes those anew.
    func markNominated(_ bytes: Span<UInt8>, _ fields: inout FieldTable) {
        guard nominates else { return }
        for line in 0..<fields.count where fields[line].name == .connection {
            var elements = ListElements(fields[line].valueRange)
            while let option = elements.next(bytes) {
                if !option.isEmpty { mark(option, bytes, &fields) }
            }
        }
    }

    private func mark(_ option: ByteRange, _ bytes: Span<UInt8>, _ fields: inout FieldTable) {
        let name = FieldName.lookUp(bytes, option).name
        if name == .host || name.flags.contains(.framing) { return }
        for index in 0..<fields.count where fields[index].name == name {
            if name != .other
                || ASCII.equalsIgnoringCase(bytes.slice(fields[index].nameRange), bytes.slice(option))
            {
                fields[index].flags.insert(.nominated)
            }
        }
    }
}
