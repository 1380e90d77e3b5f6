/// The Prometheus text format (version 0.0.4), family after family.
public struct MetricFamilies {
    /// What was written so far.
    public private(set) var text = ""

    /// Nothing was written yet.
    public init() {}

    /// Begins a family; `type` is `counter`, `gauge`, `histogram` or `summary`.
    public mutating func family(_ name: String, _ help: String, _ type: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// Adds a sample with these labels.
    public mutating func sample(
        _ name: String, _ labels: KeyValuePairs<String, String>, _ value: some BinaryInteger
    ) {
        sample(name, labels, text: "\(value)")
    }

    /// Adds a sample whose value is the text of a number.
    public mutating func sample(
        _ name: String, _ labels: KeyValuePairs<String, String>, text value: String
    ) {
        text += "\(name)\(Self.braced(labels.map { ($0.key, $0.value) })) \(value)\n"
    }

    /// Adds a family of one counter.
    public mutating func counter(_ name: String, _ help: String, _ value: some BinaryInteger) {
        family(name, help, "counter")
        sample(name, [:], value)
    }

    /// Adds a family of one gauge.
    public mutating func gauge(_ name: String, _ help: String, _ value: some BinaryInteger) {
        family(name, help, "gauge")
        sample(name, [:], value)
    }

    /// Adds the samples of a histogram of seconds with these labels.
    public mutating func histogram(
        _ name: String, _ labels: KeyValuePairs<String, String>, _ histogram: LatencyHistogram
    ) {
        let given = labels.map { ($0.key, $0.value) }
        var count: UInt64 = 0
        for (index, inBucket) in histogram.counts.enumerated() {
            count &+= inBucket
            let bound = ("le", LatencyBuckets.label(of: index))
            text += "\(name)_bucket\(Self.braced(given + [bound])) \(count)\n"
        }
        text += "\(name)_sum\(Self.braced(given)) \(LatencyBuckets.seconds(histogram.microseconds))\n"
        text += "\(name)_count\(Self.braced(given)) \(count)\n"
    }

    /// Adds text of the same format.
    public mutating func append(_ families: String) { text += families }

    private static func braced(_ labels: [(String, String)]) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { "\($0.0)=\"\(escaped($0.1))\"" }.joined(separator: ",") + "}"
    }

    /// A label's value: paths of routes and of sockets may hold anything.
    public static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
