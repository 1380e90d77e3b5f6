internal import JOSE

extension ConfigurationReader {
    static let revocationKeys = ["file"]

    /// The `[revocation]` table. A list that cannot be read is an error: it must not pass for an empty one.
    func revocation(_ section: Section) -> RevocationConfiguration? {
        guard let section = section.subsection("revocation", keys: Self.revocationKeys) else { return nil }
        guard let path = section.string("file") else {
            return RevocationConfiguration(file: nil, list: .init())
        }
        // It is looked at for itself: with `watch` a change would be a reload besides, and one ends the streams of two before.
        guard let bytes = loader.readUnwatched(path: path.value, at: path.position) else { return nil }
        let file = loader.resolve(path: path.value)
        guard let list = RevocationList(bytes) else {
            loader.error(
                path.position,
                "\"\(file)\" is not a list such as {\"jti\": [\"a\"], \"sub\": {\"user\": 1769299200}}")
            return nil
        }
        if let latest = list.latestMoment, latest > Self.lastSensibleSecond {
            loader.warning(
                path.position,
                "\"\(file)\" has a moment beyond the year 5000: they are seconds since 1970, not milliseconds, and until then "
                    + "no token of that user is good")
        }
        return RevocationConfiguration(file: file, list: list)
    }

    /// Milliseconds of today are above it.
    private static let lastSensibleSecond: Int64 = 100_000_000_000
}
