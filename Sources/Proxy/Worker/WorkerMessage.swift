public import JOSE
public import Policy
public import Reactor
public import Upstream

/// What the control thread tells a worker.
public enum WorkerMessage: Sendable {
    /// Go on with these settings and these listeners, of which those that the worker has are kept, as one of so many.
    case reconfigure(ProxySettings, [WorkerListener], workers: Int)
    /// What became of the keys of an issuer that fetches them.
    case keys(KeyNotice)
    /// Certificates have changed: these are the listeners, in the same order as before.
    case secure([ListenerSettings])
    /// The servers of the upstream of that name are these from now on.
    case servers(String, [ServerSettings])
    /// The upstreams, the same ones in the same order, whose settings have changed.
    case upstreams([UpstreamSettings])
    /// These tokens are revoked, and no others.
    case revocations(RevocationList)
    /// Accept nothing more, and end each connection with its next answer: another process listens now.
    case retire
    /// What a server said of a credential.
    case verdict(RemoteAnswer)
    /// What the shared store said of buckets.
    case rates([RateAnswer])
    /// Accept nothing more, let requests finish, then end.
    case drain
    /// Another worker wants a connection that is shared, or has made room for one.
    case lookForRoom
    /// Show that the loop turns.
    case beat(Heartbeat)
    /// End at once.
    case stop
}

/// A listener for one worker.
public struct WorkerListener: Sendable {
    /// The name of its table.
    public let name: String
    /// Where it listens.
    public let address: SocketAddress
    /// A descriptor that listens there and is the worker's from now on; nil for a listener that it has already.
    public let descriptor: Int32?

    /// The listener of that name, there.
    public init(name: String, address: SocketAddress, descriptor: Int32?) {
        self.name = name
        self.address = address
        self.descriptor = descriptor
    }
}
