internal import Bytes
internal import Policy

extension ConfigurationReader {
    /// Where an issuer's tokens are looked for; the header alone where the file says nothing.
    func tokenFrom(_ section: Section) -> [TokenPlace] {
        guard let entry = section.table["token_from"], let texts = section.strings("token_from") else {
            return [.header]
        }
        if entry.node.value == .array([]) {
            loader.error(entry.node.start, "\"token_from\" is empty; leave it out for [\"header\"]")
        }
        var places: [TokenPlace] = []
        for text in texts {
            guard let place = tokenPlace(text) else { continue }
            if places.contains(place) {
                loader.error(text.position, "\"token_from\" names \"\(text.value)\" twice")
            }
            places.append(place)
        }
        return places.isEmpty ? [.header] : places
    }

    static func isCookie(_ place: TokenPlace) -> Bool {
        if case .cookie = place { true } else { false }
    }

    private func tokenPlace(_ text: Located<String>) -> TokenPlace? {
        if text.value == "header" { return .header }
        if text.value == "websocket" { return .webSocket }
        for (prefix, extra) in [("cookie:", "!#$%&'*+^`|"), ("query:", "")] where text.value.hasPrefix(prefix)
        {
            let name = String(text.value.dropFirst(prefix.count))
            guard !name.isEmpty, name.utf8.allSatisfy({ Self.isNameByte($0) || extra.utf8.contains($0) })
            else {
                loader.error(
                    text.position,
                    "\"\(text.value)\" needs the name of a \(prefix == "cookie:" ? "cookie" : "parameter"), such as "
                        + "\"\(prefix)token\"")
                return nil
            }
            return prefix == "cookie:" ? .cookie(name) : .query(name)
        }
        let known = ["header", "websocket", "cookie:NAME", "query:NAME"]
        loader.error(
            text.position,
            "\"token_from\" must hold \"header\", \"cookie:NAME\", \"query:NAME\" or \"websocket\", not "
                + "\"\(text.value)\"",
            didYouMean: Suggestion.nearest(to: text.value, among: known))
        return nil
    }

    /// Letters, digits and what is the same in every encoding.
    private static func isNameByte(_ byte: UInt8) -> Bool { ASCIISet.unreserved.contains(byte) }
}
