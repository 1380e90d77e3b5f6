extension PolicySnapshot {
    /// True where the upstream gets the client's Host, false where it gets its server's own.
    public func preservesHost(_ permit: borrowing Permit) -> Bool {
        authorizations.preservesHost(permit.upstream)
    }
}
