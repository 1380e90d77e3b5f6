internal import Policy

extension ConfigurationReader {
    /// `dpop` and what belongs to it (RFC 9449); nil where tokens never come with a proof.
    func dpop(_ section: Section, _ tokenFrom: [TokenPlace]) -> DPoPSpec? {
        let lifetime = section.duration(
            "dpop_lifetime", default: .seconds(60), in: .seconds(1) ... .seconds(300))
        let needsNonce = section.boolean("dpop_nonce", default: false)
        guard let entry = section.table["dpop"], let mode = section.string("dpop") else {
            for key in ["dpop_lifetime", "dpop_nonce"] where section.table["dpop"] == nil {
                guard let entry = section.table[key] else { continue }
                loader.error(entry.position, "\"\(key)\" is about proofs, and there is no \"dpop\"")
            }
            return nil
        }
        guard ["required", "optional"].contains(mode.value) else {
            loader.error(
                mode.position,
                "\"dpop\" must be \"required\" or \"optional\", not \"\(mode.value)\"; leave it out for neither",
                didYouMean: Suggestion.nearest(to: mode.value, among: ["required", "optional"]))
            return nil
        }
        if mode.value == "required", tokenFrom != [.header] {
            loader.error(
                entry.position,
                "dpop = \"required\" and \"token_from\": a token with a proof comes in the header alone")
        } else if !tokenFrom.contains(.header) {
            loader.error(
                entry.position, "\"dpop\" needs \"header\" in \"token_from\", where tokens with a proof are")
        }
        return DPoPSpec(
            isRequired: mode.value == "required", lifetimeSeconds: lifetime.components.seconds,
            needsNonce: needsNonce)
    }
}
