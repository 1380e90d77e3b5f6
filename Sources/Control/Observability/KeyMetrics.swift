import Telemetry

/// What the metrics say of an issuer's keys.
struct KeyStatus {
    let issuer: String
    /// Keys that can verify a token.
    let keys: Int
    let fetches: UInt64
    let failures: UInt64
    /// Since they were fetched; nil where there are none.
    let ageSeconds: Int64?
    /// How far this machine's clock was ahead of the key server's, in seconds; nil: it has not said.
    let secondsAhead: Int64?
    /// There may be no keys.
    let isOptional: Bool
    /// There should be keys: they are not optional and some route needs them, or there were some.
    let isExpected: Bool

    /// The text of all families; empty where no issuer needs keys that are fetched.
    static func metrics(_ known: [KeyStatus]) -> String {
        // What need not be there is nothing to be alarmed at.
        let all = known.filter(\.isExpected)
        guard !all.isEmpty else { return "" }
        var text = MetricFamilies()
        let fetches = "usher_key_fetches_total"
        text.family(fetches, "Fetches of an issuer's keys.", "counter")
        for status in all { text.sample(fetches, ["issuer": status.issuer], status.fetches) }
        let failures = "usher_key_fetch_failures_total"
        text.family(failures, "Fetches that brought no keys.", "counter")
        for status in all { text.sample(failures, ["issuer": status.issuer], status.failures) }
        let keys = "usher_keys"
        text.family(keys, "Usable keys of an issuer.", "gauge")
        for status in all { text.sample(keys, ["issuer": status.issuer], status.keys) }
        let age = "usher_key_age_seconds"
        text.family(age, "Time since an issuer's keys were fetched.", "gauge")
        for status in all {
            if let seconds = status.ageSeconds { text.sample(age, ["issuer": status.issuer], seconds) }
        }
        return text.text
    }
}
