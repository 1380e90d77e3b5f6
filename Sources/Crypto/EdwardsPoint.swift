/// Points of Ed25519 in their 32 bytes: y, and the sign of x in the last bit (RFC 8032 §5.1.2).
enum EdwardsPoint {
    /// The size of an encoded point.
    static let byteCount = 32

    /// True for a point whose order divides eight, and for one that is not written in its one form.
    ///
    /// Multiples of the former vanish from the equation that a signature must satisfy, so that one signature holds for
    /// any message. OpenSSL refuses neither.
    static func isWeak(_ point: [UInt8]) -> Bool {
        precondition(point.count == byteCount)
        var y = point
        y[byteCount - 1] &= 0x7f
        if isAtLeastPrime(y) { return true }
        return smallOrders.contains(y)
    }

    /// y is a number below 2^255 - 19, least significant byte first.
    private static func isAtLeastPrime(_ y: [UInt8]) -> Bool {
        y[0] >= 0xed && y[1..<byteCount - 1].allSatisfy { $0 == 0xff } && y[byteCount - 1] == 0x7f
    }

    /// The y of every point whose order divides eight: orders 4, 1, 8, 8 and 2.
    private static let smallOrders: [[UInt8]] = [
        [UInt8](repeating: 0, count: 32),
        [1] + [UInt8](repeating: 0, count: 31),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        [0xec] + [UInt8](repeating: 0xff, count: 30) + [0x7f],
    ]
}
