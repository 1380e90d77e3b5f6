internal import Bytes
internal import HTTP
internal import Policy
internal import Reactor
internal import Telemetry
internal import Upstream

// How a worker changes its settings, and how it ends.

extension Worker {
    /// Takes over listeners from the control thread; those without a descriptor it has already.
    mutating func takeListeners(_ bound: [WorkerListener], _ settings: [ListenerSettings]) {
        for listener in bound {
            guard let index = settings.firstIndex(where: { $0.name == listener.name }) else { continue }
            if let descriptor = listener.descriptor {
                let kept = BoundListener(
                    Listener(owning: descriptor, at: listener.address), name: listener.name, index: index,
                    expectsProxyHeader: settings[index].expectsProxyHeader)
                // Hundreds of workers that end at once: what is too much is closed, and who waits there connects again.
                if !listeners.isFull { _ = listeners.insert(kept) }
            } else {
                for slot in 0..<listeners.slots
                where listeners.isLive(slot) && listeners[slot].listener.address == listener.address {
                    listeners[slot].name = listener.name
                    listeners[slot].index = index
                    listeners[slot].expectsProxyHeader = settings[index].expectsProxyHeader
                }
            }
        }
        resumeAccepting()
    }

    /// Makes a pool for each upstream; one whose settings stay the same is kept, with its connections, unless this worker's
    /// share of the limits is another.
    mutating func openPools(_ upstreams: [UpstreamSettings], keeping keeps: Bool = true) {
        let before = poolOfUpstream
        poolOfUpstream = upstreams.map { settings in
            let kept = before.first {
                keeps && pools.contains($0)
                    && pools[$0.index].settings.differsOnlyInServers(from: settings)
            }
            guard let kept else {
                return openPool(settings)
            }
            replaceServers(of: kept, settings.servers)
            return kept
        }
        for handle in before where !poolOfUpstream.contains(handle) {
            closeIdle(of: handle)
            retirePoolIfUnused(handle)
        }
        endIdleCarriers()
    }

    /// Goes on with these servers of an upstream, whose addresses have changed.
    mutating func replaceServers(of upstream: String, _ servers: [ServerSettings]) {
        for handle in poolOfUpstream where pools[handle.index].settings.name == upstream {
            replaceServers(of: handle, servers)
        }
    }

    private mutating func replaceServers(of upstream: Handle, _ servers: [ServerSettings]) {
        guard pools[upstream.index].settings.servers != servers else { return }
        endIdleCarriers()
        // Another worker may open one as soon as the books have room.
        if pools[upstream.index].sharesConnections { closeIdle(of: upstream) }
        for connection in pools[upstream.index].replaceServers(servers) {
            closeTakenServer(connection.index)
        }
        endIdleCarriers()
        // Who waits may have room now.
        freed.append(upstream)
    }

    /// Forgets a pool of earlier settings when its last connection is gone and nobody waits for one.
    mutating func retirePoolIfUnused(_ handle: Handle) {
        guard !poolOfUpstream.contains(handle), pools.contains(handle),
            pools[handle.index].connectionCount == 0,
            pools[handle.index].waitingCount == 0
        else { return }
        forgetCarriers(ofPool: handle)
        _ = pools.remove(handle)
        poolSecurity[handle.index] = nil
    }

    private mutating func openPool(_ settings: UpstreamSettings) -> Handle {
        let handle = pools.insert(UpstreamPool(settings, workers: count, worker: index))
        if pools[handle.index].sharesConnections {
            let inbox = inbox
            pools[handle.index].hangBell { inbox.send(.lookForRoom) }
        }
        poolSecurity[handle.index] = serverSecurity(settings)
        return handle
    }

    /// Swaps everything that the settings decide. Requests under way were decided by the old ones and stay so; their
    /// connections go on with the new ones.
    mutating func reconfigure(_ new: ProxySettings, _ bound: [WorkerListener], of workers: Int) {
        // Before all else: what waits at a listener that goes is welcomed by the settings that know it.
        dropListeners(except: bound)
        takeListeners(bound, new.listeners)
        let settings = renumberClients(new)
        // By the policy that knows whose the streams are: the next one remembers nobody, and has this list from the start.
        if settings.policy.revocations != policy.revocations { revoke(settings.policy.revocations) }
        // The control thread has made the same of the same settings before it sent them: what fails here is this program, or
        // its memory. To go on would be to serve by rules that everybody believes to be gone.
        do throws(WorkerError) {
            policy = try Self.compile(settings.policy, buckets, proofMemory, standing)
            securities = try Self.makeSecurities(settings.listeners, keeping: securities, ticketKeys)
        } catch {
            (failure, isStopped) = (error, true)
            return
        }
        let keepsPools = workers == count
        count = workers
        strictTransports = settings.listeners.map(\.strictTransportSecurity)
        policyNumber &+= 1
        limits = settings.limits
        headLimits = settings.limits.head
        pool.limitBytes = settings.limits.bufferBytes.map { $0 / count } ?? .max
        accessLog.configure(settings.accessLog)
        clientLimit = Self.connectionLimit(settings.limits)
        routeNames = settings.policy.routes.map { Array($0.name.utf8) }
        rows = settings.rows
        tracing = settings.tracing
        head = RequestHead(fieldCapacity: settings.limits.fieldCount)
        openPools(settings.upstreams, keeping: keepsPools)
        let issuers = settings.policy.issuers.map(\.name)
        keepStreamKeys(issuers)
        restartWaits(issuers)
        restartVerdictWaits()
        restartRateWaits()
        endLastClients()
    }

    private mutating func dropListeners(except bound: [WorkerListener]) {
        for slot in 0..<listeners.slots where listeners.isLive(slot) {
            let address = listeners[slot].listener.address
            if bound.contains(where: { $0.descriptor == nil && $0.address == address }) { continue }
            acceptBacklog(listeners.handle(at: slot))
            // Another process or worker may hold the same socket: then closing it here does not end the watch.
            if listeners[slot].isAccepting { poller.remove(listeners[slot].listener.descriptor) }
            _ = listeners.remove(listeners.handle(at: slot))
        }
    }

    /// Tells each connection its listener's place in new settings. A listener that they do not have any more, but that has
    /// connections, stands behind theirs in what this gives: a request that has come there is judged by the rules under
    /// which it came, never by another listener's, and is the last of its connection. So is that of a connection which has
    /// proven something else than its listener demands from now on.
    private mutating func renumberClients(_ new: ProxySettings) -> ProxySettings {
        var settings = new
        let (before, rulesBefore) = (listenerSettings, listenerRules)
        let places = before.map { old in new.listeners.firstIndex { $0.address == old.address } }
        var placesOfGone: [Int: Int] = [:]
        // Worked out once for each listener: the file of its authorities may be long.
        let endsClients = before.indices.map { old in
            places[old].map { !welcomesClients(of: old, new, at: $0) } ?? false
        }
        for slot in 0..<clients.slots where clients.isLive(slot) {
            let old = clients[slot].peer.listener
            var place = placeOfListener(ofClient: slot, places)
            if place == nil {
                clients[slot].isLast = true
                place = placesOfGone[old]
            }
            if place == nil {
                placesOfGone[old] = settings.listeners.count
                settings.listeners.append(before[old])
                settings.policy.listeners.append(rulesBefore[old])
            }
            if endsClients[old] { clients[slot].isLast = true }
            clients[slot].peer = clients[slot].peer.numbered(listener: place ?? settings.listeners.count - 1)
        }
        noteListeners(of: settings)
        return settings
    }

    /// True where the connections of a listener have proven what they must at its place in new settings.
    private func welcomesClients(of old: Int, _ new: ProxySettings, at place: Int) -> Bool {
        new.listeners[place].welcomes(asBefore: listenerSettings[old])
            && (!listenerSettings[old].asksWhoGreets
                || new.policy.listeners[place].believes(all: listenerRules[old]))
    }

    /// Remembers what connections need to know of their listeners.
    mutating func noteListeners(of settings: ProxySettings) {
        listenerSettings = settings.listeners
        listenerRules = settings.policy.listeners
        listenerNames = settings.listeners.map { Array($0.name.utf8) }
        listenerModes = settings.listeners.map(\.mode)
    }

    /// A worker that retires has no listeners, and its connections keep theirs as long as the configuration has it: they
    /// live until their next answer.
    private func placeOfListener(ofClient slot: UInt32, _ places: [Int?]) -> Int? {
        let listener = clients[slot].listener
        if listeners.contains(listener) { return listeners[listener.index].index }
        guard isDraining, !clients[slot].isLast else { return nil }
        return places[clients[slot].peer.listener]
    }

    /// Closes the connections that take no further request, where none has come.
    mutating func endLastClients() {
        for slot in 0..<clients.slots where clients.isLive(slot) && clients[slot].isLast { closeIfIdle(slot) }
    }

    /// Accepts nothing more, because another process does. A connection lives until its next answer, which says that
    /// it is the last: closed at once, it might cross a request on its way. HTTP/2 has GOAWAY for that.
    mutating func retire() {
        isDraining = true
        awaitsLastRequests = true
        drainTunnels()
        dropListeners(except: [])
        drainMultiplexers()
    }

    /// Accepts nothing more; requests under way finish, and connections close behind them.
    mutating func drain() {
        isDraining = true
        awaitsLastRequests = false
        drainTunnels()
        dropListeners(except: [])
        for slot in 0..<clients.slots where clients.isLive(slot) {
            switch clients[slot].phase {
            case .reading:
                // A request may lie in the kernel already: it is still served. Without one the connection closes.
                clients[slot].transport.isReadable = true
                readRequests(slot)
            case .greeting, .handshaking: hurryWhileDraining(slot)
            default: break
            }
        }
        drainMultiplexers()
        for upstream in poolOfUpstream { closeIdle(of: upstream) }
        endIdleCarriers()
    }

    private mutating func closeIfIdle(_ client: UInt32) {
        switch clients[client].phase {
        case .greeting, .handshaking: break
        case .multiplexing: return announceEnd(client)
        case .choosing where clients[client].transport.input.isEmpty: break
        case .reading where !clients[client].transport.isStream:
            // A request may lie in the kernel already: it is still served. Without one the connection closes.
            clients[client].transport.isReadable = true
            return readRequests(client)
        default: return
        }
        closeClient(client)
    }

    /// Ends an idle connection that the pool has forgotten already.
    mutating func closeTakenServer(_ server: UInt32) {
        var connection = servers.remove(servers.handle(at: server))
        connection.transport.releaseBuffers(to: &pool)
        serverDeadlines.set(server, .never)
    }

    /// Ends all connections, finished or not.
    mutating func closeEverything() {
        closeTunnels()
        for slot in 0..<clients.slots where clients.isLive(slot) && !clients[slot].exchange.isNone {
            abandon(clients[slot].exchange.index, .shutDown)
        }
        // The last words leave before the sessions end, which frame nothing afterwards.
        sendStreams()
        endMultiplexers()
        for slot in 0..<clients.slots where clients.isLive(slot) { closeClient(slot) }
        closeEndingStreams()
        // By the books of the pools: other workers, and one that gets this one's number, count on.
        for slot in 0..<pools.slots where pools.isLive(slot) {
            closeIdle(of: pools.handle(at: slot))
        }
        for slot in 0..<servers.slots where servers.isLive(slot) { closeTakenServer(slot) }
        for gauge in Gauge.allCases { counters.set(gauge, to: 0) }
        accessLog.endTurn()
    }
}
