extension PolicySnapshot {
    mutating func acceptSession(
        _ session: Int, _ claims: [UInt8], _ credential: [UInt8], _ source: Int, now: Int64
    ) -> Denial? { .unavailable }
}
