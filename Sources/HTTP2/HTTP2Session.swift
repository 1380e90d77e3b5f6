public import Bytes
internal import CNghttp2
internal import HTTP

/// One HTTP/2 connection, without I/O: bytes come in and become events, messages go in and become frames. Towards clients
/// it is the server's side, towards backends the client's.
///
/// A stream is named by its slot, a small number that is given to another stream only after `closed` was taken in and
/// `free` was called. Everything that a client may do is handled here or becomes an event; a client that only makes
/// work ends with GOAWAY (`GlitchBudget`).
@safe public struct HTTP2Session: ~Copyable {
    let session: OpaquePointer
    let state: UnsafeMutablePointer<SessionState>

    /// A session that has its SETTINGS ready to be sent; nil where memory is short.
    ///
    /// - Parameters:
    ///   - role: which side this is.
    ///   - memory: that of the thread that calls, now and later.
    ///   - now: the time in microseconds, of the clock that all calls go by.
    public init?(limits: HTTP2Limits, as role: HTTP2Role = .server, memory: HTTP2Memory, now: Int64) {
        let state = UnsafeMutablePointer<SessionState>.allocate(capacity: 1)
        // SAFETY: allocated here, and freed in `deinit` or below.
        unsafe state.initialize(to: SessionState(limits: limits, role, memory, now: now))
        guard let session = unsafe Self.makeSession(state, limits, role) else {
            unsafe state.deinitialize(count: 1)
            unsafe state.deallocate()
            return nil
        }
        unsafe self.session = session
        unsafe self.state = state
    }

    deinit {
        // SAFETY: owned by this value alone. nghttp2 calls nobody while it deletes a session.
        unsafe nghttp2_session_del(session)
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    private static func makeSession(
        _ state: UnsafeMutablePointer<SessionState>, _ limits: HTTP2Limits, _ role: HTTP2Role
    ) -> OpaquePointer? {
        var option: OpaquePointer?
        var session: OpaquePointer?
        // SAFETY: out-parameters; options and callbacks are copied, and freed here.
        let made = unsafe role == .server ? makeCallbacks() : makeClientCallbacks()
        guard let callbacks = unsafe made else { return nil }
        defer { unsafe nghttp2_session_callbacks_del(callbacks) }
        guard unsafe nghttp2_option_new(&option) == 0 else { return nil }
        defer { unsafe nghttp2_option_del(option) }
        // Windows open as bodies move on, and not before.
        unsafe nghttp2_option_set_no_auto_window_update(option, 1)
        // Streams that are over are forgotten: they were kept for priorities alone.
        unsafe nghttp2_option_set_no_closed_streams(option, 1)
        // Acknowledgements that a client does not read: the budget ends it long before, in most cases.
        unsafe nghttp2_option_set_max_outbound_ack(option, 100)
        unsafe nghttp2_option_set_max_settings(option, 32)
        // The largest head that a block of memory holds, as nghttp2 reckons it (12 bytes a field more): it drops a larger
        // one without a word when it comes to be sent, and the other side would wait.
        unsafe nghttp2_option_set_max_send_header_block_length(option, 262_144 + 12 * FieldList.capacity + 12)
        // Until the server has said how many it takes.
        unsafe nghttp2_option_set_peer_max_concurrent_streams(option, UInt32(limits.streamCount))
        var memory = unsafe state.pointee.memory.callbacks
        let result =
            unsafe role == .server
            ? nghttp2_session_server_new3(&session, callbacks, state, option, &memory)
            : nghttp2_session_client_new3(&session, callbacks, state, option, &memory)
        guard result == 0, let made = unsafe session else { return nil }
        guard unsafe submitSettings(made, limits, role) else {
            unsafe nghttp2_session_del(made)
            return nil
        }
        return unsafe made
    }

    private static func submitSettings(
        _ session: OpaquePointer, _ limits: HTTP2Limits, _ role: HTTP2Role
    ) -> Bool {
        func entry(_ identifier: UInt32, _ value: Int) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(identifier), value: UInt32(clamping: value))
        }
        let entries: InlineArray<4, nghttp2_settings_entry> = [
            role == .server
                ? entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue, limits.streamCount)
                : entry(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue, 0),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue, limits.head.headBytes),
            entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue, 1),
            entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL.rawValue, 1),
        ]
        // SAFETY: the entries are copied.
        let isSubmitted = unsafe entries.span.withUnsafeBufferPointer { entries in
            unsafe nghttp2_submit_settings(
                session, 0, entries.baseAddress, role == .server ? entries.count : entries.count - 1) == 0
        }
        return unsafe isSubmitted
            && nghttp2_session_set_local_window_size(
                session, 0, 0, Int32(clamping: limits.connectionWindowBytes))
                == 0
    }

    // MARK: Receiving

    /// Takes in what was read; the events are in the scratch afterwards, with ranges of `bytes`. False where the
    /// connection is over: what `frame` gives is still to be sent, GOAWAY at its end.
    public mutating func receive(_ bytes: Span<UInt8>, _ scratch: inout HTTP2Scratch, now: Int64) -> Bool {
        let (session, state) = unsafe (session, state)
        // SAFETY: both belong to this value; the scratch and the bytes are lent for the length of the call.
        guard unsafe !state.pointee.isOver else { return false }
        unsafe state.pointee.now = now
        let paid = unsafe state.pointee.pay(for: bytes)
        let result = unsafe withUnsafeMutablePointer(to: &scratch) { scratch in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe state.pointee.attach(scratch)
                defer { unsafe state.pointee.detach() }
                unsafe state.pointee.input = bytes.baseAddress
                return unsafe nghttp2_session_mem_recv(session, bytes.baseAddress, paid)
            }
        }
        unsafe state.pointee.input = nil
        let queuedFrames = unsafe nghttp2_session_get_outbound_queue_size(session)
        unsafe state.pointee.bound(queuedFrames: queuedFrames)
        guard unsafe result < 0 || state.pointee.isExhausted else {
            return unsafe nghttp2_session_want_read(session) != 0
        }
        end(.of(result, isExhausted: unsafe state.pointee.isExhausted))
        return false
    }

    /// True where a header section has begun and not ended: the client owes the rest.
    public var isInsideHead: Bool {
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.hasUnfinished
    }

    /// Which header section has begun and not ended, as a number that no other on the connection has; nil where none has.
    public var unfinishedSection: Int32? {
        // SAFETY: as above.
        unsafe state.pointee.unfinishedSection
    }

    /// True where nothing more is received.
    public var isOver: Bool {
        // SAFETY: as above, and the session too.
        unsafe state.pointee.isOver || nghttp2_session_want_read(session) == 0
    }

    /// True where nothing is received and nothing to be sent any more.
    public var isFinished: Bool {
        // SAFETY: the session belongs to this value.
        unsafe isOver && nghttp2_session_want_write(session) == 0
    }

    /// How many streams are open, or have a slot yet.
    public var streamCount: Int {
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.openCount
    }

    /// The number of slots that were ever used: the bound for walking over all with `owner`.
    public var slots: Int32 {
        // SAFETY: the state belongs to this value.
        unsafe Int32(state.pointee.streams.count)
    }

    // MARK: Streams

    /// Remembers whose stream it is.
    public mutating func setOwner(_ slot: Int32, _ owner: Handle) {
        // SAFETY: the state belongs to this value; the array checks the slot.
        unsafe state.pointee.streams[Int(slot)].owner = owner
    }

    /// Whose stream it is; none for a free slot.
    public func owner(_ slot: Int32) -> Handle {
        // SAFETY: as above.
        unsafe state.pointee.streams[Int(slot)].owner
    }

    /// Gives a slot back, when its `closed` was taken in.
    public mutating func free(_ slot: Int32) {
        // SAFETY: as above.
        unsafe state.pointee.free(slot)
    }

    /// True where the other side's windows are open for content of that stream.
    public func mayFrame(_ slot: Int32) -> Bool {
        // SAFETY: the session and its state belong to this value; the array checks the slot.
        let identifier = unsafe state.pointee.streams[Int(slot)].identifier
        return unsafe nghttp2_session_get_remote_window_size(session) > 0
            && nghttp2_session_get_stream_remote_window_size(session, identifier) > 0
    }

    /// Ends a stream at once.
    public mutating func reset(_ slot: Int32, _ code: HTTP2ErrorCode) {
        // SAFETY: the session and its state belong to this value.
        let record = unsafe state.pointee.streams[Int(slot)]
        guard record.identifier != 0, !record.isClosed, !record.isResetOnPurpose else { return }
        unsafe state.pointee.streams[Int(slot)].isResetOnPurpose = true
        _ = unsafe nghttp2_submit_rst_stream(session, 0, record.identifier, code.rawValue)
    }

    /// Pays for a stream that has to be reset for what the client does.
    public mutating func payForReset(now: Int64) {
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.now = now
        _ = unsafe state.pointee.pay(GlitchBudget.reset)
    }

    // MARK: Answers

    /// Submits the head at the start of `text`: a status line of HTTP/1.1, canonical lines, an empty line. Gives its size
    /// in bytes, nil where memory is short.
    public mutating func submitHead(
        _ slot: Int32, _ text: Span<UInt8>, _ form: HTTP2HeadForm, _ scratch: inout HTTP2Scratch
    ) -> Int? {
        // SAFETY: the session and its state belong to this value.
        let record = unsafe state.pointee.streams[Int(slot)]
        guard record.identifier != 0, !record.isClosed, !record.isResetOnPurpose else {
            return Self.headBytes(text)
        }
        let byteCount = unsafe FieldLines.submitHead(
            text, session, record.identifier, slot: slot, form, scratch.fields)
        if form == .interim { unsafe state.pointee.interimBytes += byteCount ?? 0 }
        return byteCount
    }

    /// The most of interim heads that a connection may leave unread, in bytes of their text: RFC 9110 §15.2 wants each
    /// 1xx passed on, but on 128 streams they would fill megabytes, for a client that reads none of them.
    static let interimLimitBytes = 65_536

    /// True where another interim head, of about that size in bytes, may be submitted.
    public mutating func takesInterim(_ byteCount: Int) -> Bool {
        // SAFETY: the session and its state belong to this value.
        if unsafe nghttp2_session_want_write(session) == 0 { unsafe state.pointee.interimBytes = 0 }
        let waiting = unsafe state.pointee.interimBytes
        return waiting == 0 || waiting + byteCount <= Self.interimLimitBytes
    }

    /// The size of the head at the start of `text`, in bytes, its empty line included.
    public static func headBytes(_ text: Span<UInt8>) -> Int { FieldLines.headBytes(text) }

    /// Keeps the trailers of an answer until its content is through: lines, each with CRLF.
    public mutating func setTrailers(_ slot: Int32, _ text: Span<UInt8>) {
        guard text.count > 0 else { return }
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.trailers[slot] = [UInt8](unsafeUninitializedCapacity: text.count) {
            copy, count in
            for index in text.indices { unsafe copy[index] = text[index] }
            count = text.count
        }
        unsafe state.pointee.streams[Int(slot)].hasTrailers = true
    }

    /// Says how many bytes of an answer's content wait in the stream's output, and whether they are the last.
    public mutating func offer(_ slot: Int32, count: Int, isComplete: Bool) {
        // SAFETY: the session and its state belong to this value.
        let record = unsafe state.pointee.streams[Int(slot)]
        guard record.identifier != 0, !record.isClosed else { return }
        unsafe state.pointee.streams[Int(slot)].waitingBytes = count
        unsafe state.pointee.streams[Int(slot)].isAnswerComplete = isComplete
        guard record.isDeferred, count > 0 || isComplete else { return }
        unsafe state.pointee.streams[Int(slot)].isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session, record.identifier)
    }

    // MARK: Requests

    /// Submits a request, whose stream gets a slot that is `owner`'s; nil where the session takes none any more.
    ///
    /// - Parameters:
    ///   - text: a request line of HTTP/1.1, canonical lines of which one is Host, an empty line.
    ///   - form: what the text does not say.
    public mutating func submitRequest(
        _ text: Span<UInt8>, _ form: HTTP2RequestForm, owner: Handle, _ scratch: inout HTTP2Scratch
    ) -> Int32? {
        // SAFETY: the session and its state belong to this value; what is stored for a stream is its slot and one.
        let slot = unsafe state.pointee.open(-1)
        let identifier = unsafe FieldLines.submitRequest(text, session, slot: slot, form, scratch.fields)
        guard identifier > 0 else {
            unsafe state.pointee.free(slot)
            return nil
        }
        unsafe state.pointee.streams[Int(slot)].identifier = identifier
        unsafe state.pointee.streams[Int(slot)].owner = owner
        unsafe state.pointee.streams[Int(slot)].isHead = ASCII.equals(text.extracting(first: 5), "HEAD ")
        return slot
    }

    /// True for a request that waits until the server takes another stream: nothing of it was sent. nghttp2 makes a stream of it
    /// when its head is framed.
    public func isUnsent(_ slot: Int32) -> Bool {
        // SAFETY: the session and its state belong to this value; the array checks the slot.
        let record = unsafe state.pointee.streams[Int(slot)]
        guard record.identifier > 0, !record.isClosed else { return false }
        return unsafe nghttp2_session_find_stream(session, record.identifier) == nil
    }

    /// The server has sent its SETTINGS.
    public var hasSettings: Bool {
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.hasSettings
    }

    /// True where the server takes further requests: it has not said that the connection ends.
    public var takesRequests: Bool {
        // SAFETY: the session and its state belong to this value.
        unsafe !state.pointee.isOver && nghttp2_session_check_request_allowed(session) != 0
    }

    /// True where four frames wait to be sent for each stream that there may be: more than requests under way need.
    public var isQueueLong: Bool {
        // SAFETY: the session and its state belong to this value.
        unsafe nghttp2_session_get_outbound_queue_size(session) > 4 * state.pointee.limits.streamCount
    }

    /// True where the server takes WebSocket by extended CONNECT (RFC 8441 §3).
    public var takesTunnels: Bool {
        // SAFETY: the session belongs to this value.
        unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// How many streams the server takes at once.
    public var remoteStreamLimit: Int {
        // SAFETY: the session belongs to this value.
        unsafe Int(
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// Why a stream ended that was not complete, until its slot is free.
    public func closeCode(_ slot: Int32) -> UInt32 {
        // SAFETY: the state belongs to this value; the array checks the slot.
        unsafe state.pointee.streams[Int(slot)].closeCode
    }

    // MARK: Sending

    /// The room that `frame` needs behind the DATA frames, in bytes: the largest frame and its header.
    public static var frameBytes: Int { 16_384 + 10 }

    /// True where there may be frames to be sent; a session that is over is asked by `makeFrames`.
    public var hasFrames: Bool {
        // SAFETY: the session belongs to this value.
        unsafe nghttp2_session_want_write(session) != 0 || isOver
    }

    /// Makes the next frames: the DATA frames of the scratch, then what `takeFrame` gives. False where there is
    /// nothing to be sent, or the room is too small for a DATA frame.
    ///
    /// - Parameter room: the room of the output, in bytes; `frameBytes` of it are kept for `takeFrame`.
    public mutating func makeFrames(_ scratch: inout HTTP2Scratch, room: Int) -> Bool {
        let (session, state) = unsafe (session, state)
        // SAFETY: both belong to this value; the scratch is lent for the length of the call. What nghttp2 gives is
        // valid until it is called again, which no other function does before `takeFrame`.
        unsafe state.pointee.room = room - Self.frameBytes
        unsafe state.pointee.isRoomShort = false
        return unsafe withUnsafeMutablePointer(to: &scratch) { scratch in
            unsafe state.pointee.attach(scratch)
            defer { unsafe state.pointee.detach() }
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(session, &bytes)
            unsafe state.pointee.frame = UnsafeRawBufferPointer(start: bytes, count: max(count, 0))
            let hasMade = unsafe count > 0 || !scratch.pointee.dataFrames.isEmpty
            if unsafe !hasMade && !state.pointee.isRoomShort { unsafe state.pointee.interimBytes = 0 }
            return hasMade
        }
    }

    /// True where the last `makeFrames` had too little room for a DATA frame that is ready.
    public var isRoomShort: Bool {
        // SAFETY: the state belongs to this value.
        unsafe state.pointee.isRoomShort
    }

    /// Adds the frame behind the DATA frames to the output, which has room for it.
    public mutating func takeFrame(into output: inout Buffer) {
        // SAFETY: given by nghttp2 in `makeFrames`, and valid until it is called again.
        let frame = unsafe state.pointee.frame
        unsafe state.pointee.frame = UnsafeRawBufferPointer(start: nil, count: 0)
        guard unsafe !frame.isEmpty else { return }
        let fits = unsafe output.append(Span(_unsafeBytes: frame))
        precondition(fits, "room for one frame was kept")
    }
}
