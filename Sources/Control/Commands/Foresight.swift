public import Config
import Proxy
import TLS

extension Supervisor {
    /// What would keep a configuration without mistakes from starting here, beyond what reading it tells: as far as it can be
    /// told without opening a port, a log or a socket.
    public static func foresee(_ configuration: Configuration) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for listener in configuration.listeners {
            do throws(CertificateFault) { _ = try listener.tls?.settings.check() } catch {
                found.append(
                    Diagnostic(
                        severity: .warning, position: listener.position,
                        message: "[listen.\(listener.name)] cannot start: \(error)"))
            }
        }
        for upstream in configuration.upstreams {
            guard let tls = upstream.tls else { continue }
            do throws(StartFailure) { _ = try TLSClientSettings(tls, upstream: upstream.name) } catch {
                found.append(
                    Diagnostic(severity: .warning, position: upstream.position, message: error.reason))
            }
        }
        return found
    }
}
