import Reactor
import TLS

/// The TLS context of connections that trust the system's authorities, made once and kept as long as their file is the same.
///
/// To parse some 140 certificates takes tens of milliseconds, and a server may end each of its connections behind an
/// answer: the control thread must not do so for each of them.
final class SystemTrust {
    private let authorities: SystemAuthorities
    private var kept: (context: TLSContext, state: [FileStamp?])?

    init(_ authorities: SystemAuthorities) { self.authorities = authorities }

    /// The context that trusts the authorities as they are now. Where they are no file, as behind a pipe, it is kept for
    /// nobody; throws where there are none.
    func context() throws(TLSError) -> TLSContext {
        // From before the text is read: what is written meanwhile is another state.
        let state = authorities.state
        if let kept, kept.state == state { return kept.context }
        kept = nil
        let made = try TLSContext(clientTrusting: authorities.load().span)
        if state.contains(where: { $0 != nil }) { kept = (made, state) }
        return made
    }
}

/// Whom connections to one server trust: the authorities that its table names, or else those of the system.
struct ServerTrust {
    private let named: [UInt8]?
    /// That of the named ones, which do not change.
    private var made: TLSContext?

    /// `named` is PEM text; nil means those of the system.
    init(_ named: [UInt8]?) { self.named = named }

    /// The context of the next connection.
    mutating func context(or system: SystemTrust) throws(TLSError) -> TLSContext {
        guard let named else { return try system.context() }
        if let made { return made }
        let context = try TLSContext(clientTrusting: named.span)
        made = context
        return context
    }
}
