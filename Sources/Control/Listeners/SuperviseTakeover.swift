import Config
import Logging
import Proxy
import Reactor

// The supervisor's part in a takeover, on both sides, and in socket activation.

extension Supervisor {
    /// From the start of a process that takes over to its keys: then it has failed, and the old one goes on.
    static let takeoverPatienceMilliseconds: Int64 = 60_000

    // MARK: The new side

    /// The process that runs already; nil, and a line in the log, where none does.
    static func findPredecessor(
        _ configuration: Configuration, _ log: Logger
    ) throws(StartFailure) -> Predecessor? {
        guard let path = configuration.takeover?.path else {
            throw StartFailure("--takeover needs the key \"takeover\" in the configuration")
        }
        let found = try Predecessor.ask(at: path)
        if found == nil { log.notice("nobody to take over from", metadata: ["path": "\(path)"]) }
        return found
    }

    /// Lays the sockets ready that are open already, for the listeners to claim.
    func inheritSockets() {
        if predecessor != nil {
            book.inherited = (predecessor?.listeners ?? []) + (predecessor?.admin ?? [])
            return
        }
        let log = log
        book.inherited = .ofServiceManager(source.environment) { log.warning("\($0)") }
    }

    /// Closes the inherited sockets that no listener has claimed. The service manager goes on listening on its own.
    func dropUnclaimedSockets() {
        for socket in book.inherited {
            if predecessor == nil {
                log.warning(
                    "a socket of the service manager belongs to no listener: nobody answers on it",
                    metadata: ["address": "\(socket.real)", "name": "\(socket.name ?? "")"])
            }
            socket.close()
        }
        book.inherited = []
    }

    /// Lets the workers of a process that takes over begin once it has the keys, and knows what is revoked: until then the old one
    /// serves, which does. Without one the shared store is waited for as long as it may still answer.
    func startWorkersIfReady(at now: Instant) {
        guard prepared != nil, phase == .starting else { return }
        // Without a process to take over from, requests wait for keys one by one.
        let missing = predecessor == nil ? nil : missingKeysReason ?? missingRevocationsReason
        guard missing == nil && !shared.isAwaited || startDeadline <= now else { return }
        startDeadline = .never
        do throws(StartFailure) {
            if let missing { throw StartFailure("not ready to take over: \(missing)") }
            try startWorkers()
        } catch {
            log.critical("cannot start", metadata: ["reason": "\(error.reason)"])
            phase = .over(exitStatus: 1)
        }
    }

    /// Tells the old process that this one serves, and answers on the admin listener in its place.
    func relievePredecessor() {
        guard predecessor != nil else { return }
        if predecessor?.relieve() == true {
            log.notice("took over the listeners; the process before drains")
        } else {
            log.warning("the process before has not said that it drains")
        }
        succeed()
    }

    /// The process before ends while this one waits for keys: nobody serves, so the workers begin at once, and requests wait
    /// for the keys as after any start. One that goes on is left alone: two would serve by two configurations.
    func losePredecessor() {
        guard predecessor != nil else { return }
        if predecessor?.hasDismissed() == true {
            log.critical(
                "cannot start", metadata: ["reason": "the process before goes on: it takes no successor now"])
            phase = .over(exitStatus: 1)
            return
        }
        log.warning("the process before has ended, or ends: starting without waiting for keys")
        succeed()
        guard prepared != nil else { return }
        startDeadline = min(
            startDeadline, Instant.now().advanced(byMilliseconds: Self.sharedPatienceMilliseconds))
    }

    /// What the process before has done, this one does from now on.
    private func succeed() {
        if let descriptor = predecessor?.descriptor { poller.remove(descriptor) }
        if let descriptor = predecessor?.successors { successors = Successors(owning: descriptor) }
        predecessor = nil
        do throws(Errno) {
            try watchAdmin()
        } catch {
            log.error("cannot answer on the admin listener", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: The old side

    /// Waits for a process that is to come after this one, where the configuration says so.
    func openSuccessors() {
        guard let path = configuration.takeover?.path else { return }
        do throws(Errno) {
            if successors == nil { successors = try Successors(at: path) }
            guard let descriptor = successors?.descriptor else { return }
            try poller.add(descriptor, token: Token.successors, for: .readable)
        } catch {
            successors = nil
            log.error("cannot wait for a takeover", metadata: ["path": "\(path)", "reason": "\(error)"])
        }
    }

    /// Stops waiting.
    func closeSuccessors() {
        guard let descriptor = successors?.descriptor else { return }
        poller.remove(descriptor)
        successors = nil
    }

    func noteSuccessor() {
        if successors?.accept(poller, now: Instant.now()) == false {
            log.warning("a process that may not take over, or not now, has asked for the listeners")
        }
    }

    func hearSuccessor() {
        switch successors?.receive() {
        case .ask: lendSockets()
        case .ready: giveWay()
        default: break
        }
    }

    private func lendSockets() {
        guard phase == .running else { return successors?.dismiss() ?? () }
        var lentAdmin: [InheritedSocket] = []
        if let admin = configuration.admin {
            let places = zip(self.admin?.addresses ?? [], self.admin?.descriptors ?? [])
            lentAdmin = places.map { real, descriptor in
                InheritedSocket(address: SocketAddress(admin.address), real: real, descriptors: [descriptor])
            }
        }
        if successors?.lend(book.open, admin: lentAdmin) == true {
            log.notice(
                "listeners lent to another process",
                metadata: ["process": .stringConvertible(Int(successors?.process ?? 0))])
        } else {
            log.error("the listeners could not be lent to another process")
        }
    }

    /// Another process serves: this one drains, in no hurry.
    private func giveWay() {
        // Who has taken nothing cannot have taken over.
        guard phase == .running, successors?.hasLent == true, let process = successors?.process else {
            return successors?.dismiss() ?? ()
        }
        log.notice(
            "another process has taken over: draining",
            metadata: ["process": .stringConvertible(Int(process))])
        service.mainProcess(is: process)
        closeAdmin()
        try? successors?.send(.draining)
        closeSuccessors()
        let now = Instant.now()
        let milliseconds = settings.limits.drainTimeoutMilliseconds
        phase = .draining(until: now.advanced(byMilliseconds: milliseconds))
        closesIdleAt = now.advanced(byMilliseconds: milliseconds / 2)
        crew.retire()
    }
}
