import Reactor

/// A listening socket that was open before this process: from the service manager, or from the process before.
struct InheritedSocket: Equatable {
    /// The address by which the configuration knows it; nil from the service manager, which knows only the real one.
    var address: SocketAddress?
    /// Where it listens.
    var real: SocketAddress
    /// What the service manager calls it (FileDescriptorName=).
    var name: String?
    /// Descriptors of it, or of several sockets on one address.
    var descriptors: [Int32]

    /// True where the configuration's listener of that name and address means this one.
    func fits(name: String, address: SocketAddress) -> Bool {
        if let known = self.address { return known == address }
        return self.name == name || real == address
    }

    func close() {
        for descriptor in descriptors { _ = FileDescriptor(owning: descriptor) }
    }
}

extension [InheritedSocket] {
    /// The sockets of the service manager: LISTEN_FDS of them, from descriptor 3 on, where LISTEN_PID is this process
    /// (sd_listen_fds(3)). What is not a listening stream socket is closed; `complain` is told.
    static func ofServiceManager(
        _ environment: [String: String], process: Int32 = processIdentifier(), complain: (String) -> Void
    ) -> [InheritedSocket] {
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == process,
            let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), (1...1024).contains(count)
        else { return [] }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        var found: [InheritedSocket] = []
        for place in 0..<Int(count) {
            let descriptor = firstPassedDescriptor + Int32(place)
            let name = place < names.count ? String(names[place]) : nil
            if let real = Listener.inheritedAddress(of: descriptor) {
                found.append(InheritedSocket(real: real, name: name, descriptors: [descriptor]))
            } else {
                complain(
                    "the socket \"\(name ?? "")\" of the service manager is not a stream socket that listens")
            }
        }
        return found
    }

    /// The first descriptor behind the standard ones.
    private static var firstPassedDescriptor: Int32 { 3 }

    /// Takes out what a listener is to use; empty where it has to open its own.
    mutating func take(name: String, address: SocketAddress) -> [InheritedSocket] {
        let taken = filter { $0.fits(name: name, address: address) }
        removeAll { $0.fits(name: name, address: address) }
        return taken
    }
}
