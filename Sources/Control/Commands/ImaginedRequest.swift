public import Policy

/// A request that is only thought of.
public struct ImaginedRequest: Sendable {
    /// The method, as it is written on the wire.
    public var method: String
    /// Path and query, as they are written on the wire.
    public var target: String
    /// The value of `Host`.
    public var host: String
    /// True where it comes over TLS.
    public var isSecure: Bool
    /// The client's address; `IPAddress.none` for a Unix socket.
    public var address: IPAddress
    /// The listener, a place in `Configuration.listeners`.
    public var listener: Int
    /// The fields besides Host, in their order.
    public var fields: [(name: String, value: String)]

    /// A request with these parts.
    public init(
        method: String, target: String, host: String, isSecure: Bool, address: IPAddress, listener: Int,
        fields: [(name: String, value: String)]
    ) {
        self.method = method
        self.target = target
        self.host = host
        self.isSecure = isSecure
        self.address = address
        self.listener = listener
        self.fields = fields
    }

    /// The head on the wire.
    var bytes: [UInt8] {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        for field in fields { text += "\(field.name): \(field.value)\r\n" }
        return Array((text + "\r\n").utf8)
    }
}
