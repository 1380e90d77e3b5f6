import Proxy
import Reactor
import Upstream

// The supervisor's part in the addresses of servers: it passes them on.

extension Supervisor {
    /// Tells the workers which servers have other addresses now.
    func noteServerAddresses() {
        for upstream in backends.noteAnswers(now: Instant.now()) {
            for place in settings.upstreams.indices where settings.upstreams[place].name == upstream.name {
                settings.upstreams[place].servers = upstream.servers
            }
            crew.sendServers(of: upstream)
        }
    }
}
