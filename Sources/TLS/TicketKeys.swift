internal import COpenSSL
internal import CTLS
internal import Synchronization

/// The keys that session tickets are encrypted with (RFC 5077 §4, RFC 8446 §4.6.1), the same for all workers, so that
/// a client may come back to another one than it left.
///
/// They are made here, are nowhere written down, and each serves for a short time only: who steals one cannot read
/// what was recorded before or long after (TLS 1.3 has fresh keys for each connection anyway).
public final class TicketKeys: Sendable {
    /// How long a key makes new tickets, in seconds.
    static let rotationSeconds: Int64 = 4 * 3600
    /// How long a session may be taken up again, in seconds: two rotations, and the keys of these are kept.
    static let sessionSeconds: Int64 = 2 * rotationSeconds
    /// The key that is in use, and those of tickets that may still come.
    private static let keptCount = 3

    /// The name that stands in tickets (16 bytes), the AES-256 key (32) and the HMAC key (32).
    struct Key {
        let bytes: InlineArray<80, UInt8>
        let madeAt: Int64
    }

    private let keys = Mutex<[Key]>([])

    /// Keys that are made when the first ticket is.
    public init() {}

    /// The key for a new ticket at that second; nil where the system has no randomness.
    func current(now: Int64) -> Key? {
        keys.withLock { keys in
            // A clock that was ahead has made a key that would be in use until it is there again.
            if let first = keys.first, abs(now - first.madeAt) < Self.rotationSeconds { return first }
            var bytes = InlineArray<80, UInt8>(repeating: 0)
            let done = unsafe withUnsafeMutableBytes(of: &bytes) { room in
                // SAFETY: the 80 bytes of `bytes`.
                unsafe RAND_bytes(room.baseAddress?.assumingMemoryBound(to: UInt8.self), 80) == 1
            }
            guard done else { return nil }
            let key = Key(bytes: bytes, madeAt: now)
            keys.insert(key, at: 0)
            keys.removeLast(max(0, keys.count - Self.keptCount))
            return key
        }
    }

    /// The key of that name, and whether tickets with it are to be renewed; nil where it is unknown or too old.
    func find(_ name: Span<UInt8>, now: Int64) -> (key: Key, isOld: Bool)? {
        keys.withLock { keys in
            for (place, key) in keys.enumerated() where Self.isNamed(key, name) {
                let age = now - key.madeAt
                guard abs(age) < Self.rotationSeconds + Self.sessionSeconds else { return nil }
                return (key, place > 0 || age >= Self.rotationSeconds)
            }
            return nil
        }
    }

    private static func isNamed(_ key: Key, _ name: Span<UInt8>) -> Bool {
        for index in 0..<16 where key.bytes[index] != name[index] { return false }
        return true
    }

    /// OpenSSL's call-back: prepares to write a ticket, or to read one. 1 is done, 2 that the ticket is to be renewed,
    /// 0 that it is not ours, negative that the system failed.
    func prepare(
        _ name: UnsafeMutablePointer<UInt8>, _ iv: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer,
        _ mac: OpaquePointer, encrypts: Bool
    ) -> Int32 {
        let now = Wall.seconds()
        if encrypts {
            guard let key = current(now: now), unsafe RAND_bytes(iv, 16) == 1 else { return -1 }
            // SAFETY: OpenSSL gives room for 16 bytes of name.
            for index in 0..<16 { unsafe name[index] = key.bytes[index] }
            return unsafe use(key, iv, cipher, mac, encrypts: true) ? 1 : -1
        }
        // SAFETY: OpenSSL gives 16 bytes of name.
        let wanted = unsafe Span(_unsafeStart: UnsafePointer(name), count: 16)
        guard let (key, isOld) = find(wanted, now: now) else { return 0 }
        guard unsafe use(key, iv, cipher, mac, encrypts: false) else { return -1 }
        return isOld ? 2 : 1
    }

    private func use(
        _ key: Key, _ iv: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer, _ mac: OpaquePointer,
        encrypts: Bool
    ) -> Bool {
        unsafe key.bytes.span.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return false }
            // SAFETY: 16 bytes of name, then twice 32 of keys; copied during the call.
            return unsafe usher_tls_use_ticket_key(cipher, mac, start + 16, start + 48, iv, encrypts ? 1 : 0)
                == 1
        }
    }
}
