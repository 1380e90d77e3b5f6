import Bytes
import HTTP

/// The access log of one worker: formats a line a request into memory it keeps, and hands it on in batches.
///
/// Not shared between threads; the `LogWriter` behind it is. Recording never blocks and never allocates.
public final class AccessLog {
    /// A batch is handed on when it reaches this size even before the loop turn ends: some 40 lines.
    static var batchBytes: Int { 16_384 }
    /// A longer path is cut: enough to recognise a request, too little to fill a disk with one.
    static var pathLimitBytes: Int { 1024 }
    /// Every other text is cut here. Eight of them and the path, each byte escaped as six, stay below the 48 KiB
    /// that a batch of less than 16 KiB leaves in its block of 64 KiB.
    static var textLimitBytes: Int { 512 }

    private let writer: LogWriter
    private let counters: WorkerCounters
    private var pool = BlockPool(keptBytes: 0)
    private var batch = Buffer()
    private var linesInBatch = 0
    private var timestamps = TimestampFormatter()
    private var combined = CombinedForm()
    private var sample = AccessSample()
    private var form = AccessLogSettings.Form.json

    /// An access log that writes through `writer`, which several workers may share, and counts the lines it loses
    /// in `counters`, which it must be called on the owning thread of.
    public init(writer: LogWriter, counters: WorkerCounters) {
        self.writer = writer
        self.counters = counters
        batch.attach(from: &pool, .medium)
    }

    deinit {
        batch.detach(to: &pool)
    }

    /// False where the log is off: the caller need not make a record at all.
    public var isOn: Bool { writer.isOn }

    /// True where lines say what the client is: `referer` and `userAgent` of a record.
    public var wantsAgent: Bool { form == .combined && writer.isOn }

    /// Writes as these settings say from now on.
    public func configure(_ settings: AccessLogSettings) {
        form = settings.form
        sample.configure(settings.shares)
    }

    /// Adds the line of one request, if it is among those that are wanted.
    public func record(_ record: borrowing AccessRecord) {
        guard sample.takes(status: record.status) else { return }
        switch form {
        case .json: appendJSON(record)
        case .combined: combined.append(record, to: &batch)
        }
        linesInBatch += 1
        if batch.count >= Self.batchBytes { handOver() }
    }

    private func appendJSON(_ record: borrowing AccessRecord) {
        _ = batch.append("{\"time\":\"")
        timestamps.append(milliseconds: record.time, to: &batch)
        _ = batch.append("\",\"method\":")
        appendText(record.method)
        _ = batch.append(",\"path\":")
        appendText(record.path, limit: Self.pathLimitBytes)
        _ = batch.append(",\"status\":")
        JSONText.appendInteger(Int64(record.status), to: &batch)
        _ = batch.append(",\"bytes\":")
        JSONText.appendInteger(record.responseBytes, to: &batch)
        _ = batch.append(",\"duration_ms\":")
        JSONText.appendMilliseconds(microseconds: record.duration, to: &batch)
        _ = batch.append(",\"upstream_ms\":")
        appendUpstreamDuration(record.upstreamDuration)
        _ = batch.append(",\"user\":")
        appendText(record.user)
        _ = batch.append(",\"route\":")
        appendText(record.route)
        _ = batch.append(",\"reason\":\"")
        _ = batch.append(record.reason.text)
        _ = batch.append("\",\"request_id\":")
        appendText(record.requestID)
        if !record.traceID.isEmpty {
            _ = batch.append(",\"trace_id\":")
            appendText(record.traceID)
        }
        _ = batch.append(",\"client\":")
        appendText(record.client)
        _ = batch.append(",\"upstream\":")
        appendText(record.upstream)
        _ = batch.append(",\"detail\":")
        appendText(record.detail)
        _ = batch.append(",\"listener\":")
        appendText(record.listener)
        _ = batch.append("}\n")
    }

    /// Hands the lines of this loop turn to the writer. Call once at the end of every turn; costs nothing without
    /// lines.
    public func endTurn() {
        if linesInBatch > 0 { handOver() }
    }

    private func appendText(_ text: Span<UInt8>, limit: Int = AccessLog.textLimitBytes) {
        if text.isEmpty {
            _ = batch.append("null")
        } else {
            JSONText.appendString(text.extracting(first: limit), to: &batch)
        }
    }

    private func appendUpstreamDuration(_ microseconds: Int64) {
        if microseconds < 0 {
            _ = batch.append("null")
        } else {
            JSONText.appendMilliseconds(microseconds: microseconds, to: &batch)
        }
    }

    private func handOver() {
        if !writer.submit(batch.bytes) { counters.add(linesInBatch, to: .accessLinesLost) }
        batch.consume(batch.count)
        linesInBatch = 0
    }
}
