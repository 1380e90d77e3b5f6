internal import Bytes

/// What an event of the poller is about, in the 64 bits that the kernel keeps for it: kind, slot and generation.
struct EventToken {
    enum Kind: UInt8 {
        case inbox, listener, client, server
    }

    let kind: Kind
    let handle: Handle

    private static let slotBits: UInt64 = 28
    private static let slotMask: UInt64 = (1 << slotBits) - 1

    init(_ kind: Kind, _ handle: Handle) {
        precondition(UInt64(handle.index) <= Self.slotMask)
        self.kind = kind
        self.handle = handle
    }

    @inline(__always)
    init?(rawValue: UInt64) {
        guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> Self.slotBits & 15)) else {
            return nil
        }
        self.kind = kind
        handle = Handle(
            index: UInt32(truncatingIfNeeded: rawValue & Self.slotMask),
            generation: UInt32(truncatingIfNeeded: rawValue >> 32))
    }

    var rawValue: UInt64 {
        UInt64(handle.generation) << 32 | UInt64(kind.rawValue) << Self.slotBits | UInt64(handle.index)
    }
}
