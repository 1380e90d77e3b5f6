import Bytes
import CNghttp2
import HTTP

// What nghttp2 calls. Each function gets the address of the session's state, which outlives the session.

/// The state behind a callback's `user_data`.
typealias State = UnsafeMutablePointer<SessionState>

func state(_ data: UnsafeMutableRawPointer?) -> State? {
    // SAFETY: every session is made with the address of its state.
    unsafe data?.assumingMemoryBound(to: SessionState.self)
}

let failure = Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
let streamFailure = Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)

/// The slot of a stream, or nil for one that has none.
func slot(_ session: OpaquePointer?, _ identifier: Int32) -> Int32? {
    // SAFETY: the session is the one that calls; what is stored for a stream is its slot and one, never an address.
    guard let stored = unsafe nghttp2_session_get_stream_user_data(session, identifier) else { return nil }
    return Int32(truncatingIfNeeded: Int(bitPattern: stored) - 1)
}

/// The callbacks, for one session after another; nil where memory is short.
func makeCallbacks() -> OpaquePointer? {
    var callbacks: OpaquePointer?
    // SAFETY: an out-parameter; the functions capture nothing.
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, onBeginFrame)
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, onInvalidHeader)
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, onInvalidFrame)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose)
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onSent)
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks, onSendData)
    return unsafe callbacks
}

private func onBeginFrame(
    _ session: OpaquePointer?, _ header: UnsafePointer<nghttp2_frame_hd>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let header = unsafe header else { return failure }
    // SAFETY: nghttp2 passes a header that is valid for the call; the state is this session's.
    guard unsafe header.pointee.type == UInt8(NGHTTP2_HEADERS.rawValue) else { return 0 }
    let identifier = unsafe header.pointee.stream_id
    let isLate = unsafe identifier <= nghttp2_session_get_last_proc_stream_id(session)
    // Of a stream that is over: the section is decompressed, and has no effect.
    guard isLate, unsafe slot(session, identifier) == nil else { return 0 }
    return unsafe state.pointee.pay(GlitchBudget.reset) ? 0 : failure
}

private func onBeginHeaders(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call, and one of HEADERS; slots are stored as numbers.
    let identifier = unsafe frame.pointee.hd.stream_id
    guard unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else {
        guard let slot = unsafe slot(session, identifier) else { return 0 }
        unsafe state.pointee.begin(.trailers, slot)
        return 0
    }
    let isFull = unsafe state.pointee.withScratch { $0.text.count > HTTP2Scratch.textBytes } ?? true
    guard !isFull else {
        _ = unsafe nghttp2_submit_rst_stream(session, 0, identifier, HTTP2ErrorCode.refusedStream.rawValue)
        return streamFailure
    }
    let slot = unsafe state.pointee.open(identifier)
    unsafe nghttp2_session_set_stream_user_data(
        session, identifier, UnsafeMutableRawPointer(bitPattern: Int(slot) + 1))
    // Priorities are not followed: all streams take turns.
    var priority = nghttp2_extpri(urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
    _ = unsafe nghttp2_session_change_extpri_stream_priority(session, identifier, &priority, 1)
    unsafe state.pointee.begin(.request, slot)
    return 0
}

func onHeader(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ name: UnsafePointer<UInt8>?,
    _ nameCount: Int, _ value: UnsafePointer<UInt8>?, _ valueCount: Int, _: UInt8,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: name and value have these lengths, and are valid for the call.
    let name = unsafe UnsafeBufferPointer(start: name, count: nameCount)
    let value = unsafe UnsafeBufferPointer(start: value, count: valueCount)
    let verdict = unsafe state.pointee.withScratch { scratch in
        unsafe scratch.section.add(Span(_unsafeElements: name), Span(_unsafeElements: value))
    }
    switch verdict {
    case .taken:
        return 0
    case .beyondLimit:
        // The answer of a backend can be no other than 502, and a byte may stand for 4 KB of field: nothing pays for going
        // through them all.
        if unsafe state.pointee.role == .client {
            return unsafe refuseSection(session, frame.pointee.hd.stream_id, state)
        }
        return unsafe state.pointee.pay(GlitchBudget.fieldBeyondLimit) ? 0 : failure
    case .malformed, nil:
        return unsafe refuseSection(session, frame.pointee.hd.stream_id, state)
    }
}

func onInvalidHeader(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _: UnsafePointer<UInt8>?, _: Int,
    _: UnsafePointer<UInt8>?, _: Int, _: UInt8, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call.
    return unsafe refuseSection(session, frame.pointee.hd.stream_id, state)
}

/// nghttp2 has refused a frame by itself: the section that it ended is over, and the other side owes no more of it.
func onInvalidFrame(
    _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, _: Int32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data) else { return failure }
    // SAFETY: the state is the one of the session that calls.
    _ = unsafe state.pointee.withScratch { $0.section.end() }
    return 0
}

/// A malformed message is a stream error (RFC 9113 §8.1.1), and no byte of it is used.
func refuseSection(_ session: OpaquePointer?, _ identifier: Int32, _ state: State) -> Int32 {
    // SAFETY: the session is the one that calls, and the state is its own.
    _ = unsafe state.pointee.withScratch { $0.section.end() }
    _ = unsafe nghttp2_submit_rst_stream(session, 0, identifier, HTTP2ErrorCode.protocolError.rawValue)
    return streamFailure
}

private func onFrame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call, and of the type that its header says.
    let header = unsafe frame.pointee.hd
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue:
        unsafe finishSection(state)
    case NGHTTP2_WINDOW_UPDATE.rawValue:
        let isSmall = unsafe frame.pointee.window_update.window_size_increment < GlitchBudget.smallIncrement
        if isSmall, !(unsafe state.pointee.pay(GlitchBudget.smallWindowUpdate)) { return failure }
        return 0
    case NGHTTP2_DATA.rawValue:
        // Padding makes no frame worth more.
        let padding = unsafe Int(frame.pointee.data.padlen)
        if padding > 0, !(unsafe state.pointee.pay(GlitchBudget.price(ofPadded: header, padding))) {
            return failure
        }
    default:
        return 0
    }
    if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
        let slot = unsafe slot(session, header.stream_id)
    {
        unsafe state.pointee.note(.end(slot: slot))
    }
    return 0
}

/// Turns the section that is complete into an event.
private func finishSection(_ state: State) {
    // SAFETY: the state is the one of the session that calls.
    _ = unsafe state.pointee.withScratch { scratch in
        let slot = scratch.section.slot
        let start = scratch.text.count
        switch scratch.section.kind {
        case .none, .answer:
            return
        case .request:
            if let fault = scratch.section.fault {
                scratch.events.append(.refused(slot: slot, fault: fault, isHead: scratch.section.isHead))
            } else {
                scratch.section.appendRequest(to: &scratch.text)
                scratch.events.append(
                    .request(
                        slot: slot, text: scratch.text.range(since: start),
                        isWebSocket: scratch.section.isWebSocket))
            }
        case .trailers:
            // Trailers beyond the limits are left out: nothing depends on them.
            if scratch.section.fault == nil {
                scratch.section.appendTrailers(to: &scratch.text)
                scratch.events.append(.trailers(slot: slot, text: scratch.text.range(since: start)))
            }
        }
        scratch.section.end()
    }
}

func onData(
    _ session: OpaquePointer?, _: UInt8, _ identifier: Int32, _ content: UnsafePointer<UInt8>?, _ count: Int,
    _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let content = unsafe content, let input = unsafe state.pointee.input
    else { return failure }
    // SAFETY: nghttp2 gives content as a part of the bytes that it was given, whose first one is `input`.
    let range = unsafe ByteRange(start: content - input, count: count)
    guard let slot = unsafe slot(session, identifier) else {
        _ = unsafe nghttp2_session_consume(session, identifier, count)
        return 0
    }
    unsafe state.pointee.note(.data(slot: slot, range: range))
    return 0
}

func onClose(
    _ session: OpaquePointer?, _ identifier: Int32, _ code: UInt32, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data) else { return failure }
    // SAFETY: the stream's number is still stored while this is called.
    if let slot = unsafe slot(session, identifier) {
        _ = unsafe state.pointee.withScratch { if $0.section.slot == slot { $0.section.end() } }
        unsafe state.pointee.streams[Int(slot)].closeCode = code
        unsafe state.pointee.close(slot)
    }
    return 0
}

private func onSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call, and of the type that its header says.
    let header = unsafe frame.pointee.hd
    switch UInt32(header.type) {
    case NGHTTP2_RST_STREAM.rawValue:
        let slot = unsafe slot(session, header.stream_id)
        let isOnPurpose = slot.map { unsafe state.pointee.streams[Int($0)].isResetOnPurpose } ?? false
        if !isOnPurpose { _ = unsafe state.pointee.pay(GlitchBudget.reset) }
    case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue:
        if !(unsafe state.pointee.isPiecemeal) {
            unsafe state.pointee.earn(isContent: UInt32(header.type) == NGHTTP2_DATA.rawValue)
        }
        unsafe state.pointee.isPiecemeal = false
        guard header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
            unsafe nghttp2_session_get_stream_remote_close(session, header.stream_id) == 0
        else { return 0 }
        // The answer is through, and the rest of the request is wanted by nobody (RFC 9113 §8.1).
        if let slot = unsafe slot(session, header.stream_id) {
            unsafe state.pointee.streams[Int(slot)].isResetOnPurpose = true
        }
        _ = unsafe nghttp2_submit_rst_stream(session, 0, header.stream_id, HTTP2ErrorCode.noError.rawValue)
    default:
        break
    }
    return 0
}

func onSendData(
    _: OpaquePointer?, _ frame: UnsafeMutablePointer<nghttp2_frame>?, _ header: UnsafePointer<UInt8>?,
    _ count: Int,
    _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let header = unsafe header, let source = unsafe source else {
        return failure
    }
    // SAFETY: the header of a frame has nine bytes, valid for the call; the source is the one of `readAnswer`.
    let slot = unsafe source.pointee.fd
    unsafe precondition(
        state.pointee.room >= count + frameHeaderBytes
            && state.pointee.streams[Int(slot)].waitingBytes >= count,
        "nghttp2 sends what `readAnswer` has said, and does nothing in between")
    unsafe state.pointee.room -= count + frameHeaderBytes
    unsafe state.pointee.streams[Int(slot)].waitingBytes -= count
    let bytes = unsafe UnsafeRawPointer(header)
    let frame = unsafe HTTP2DataFrame(
        slot: slot, count: Int32(count), header: bytes.loadUnaligned(as: UInt64.self).littleEndian,
        lastHeaderByte: header[8])
    _ = unsafe state.pointee.withScratch { $0.dataFrames.append(frame) }
    return 0
}

/// The header of a frame, in bytes (RFC 9113 §4.1).
private let frameHeaderBytes = 9
/// A DATA frame that could hold more is not made smaller than this for want of room, in bytes.
private let smallestPieceBytes = 1024

/// Says how much of an answer may be framed now: no more than there is room for. A frame that was begun and had to wait
/// would be a promise, which a stream that ends meanwhile breaks; nghttp2 resets it then with INTERNAL_ERROR.
func readAnswer(
    _ session: OpaquePointer?, _ identifier: Int32, _: UnsafeMutablePointer<UInt8>?, _ limit: Int,
    _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?,
    _ data: UnsafeMutableRawPointer?
) -> Int {
    guard let state = unsafe state(data), let flags = unsafe flags, let source = unsafe source else {
        return Int(failure)
    }
    // SAFETY: the source holds the stream's slot, which stays its own until the stream is closed.
    let slot = unsafe source.pointee.fd
    let record = unsafe state.pointee.streams[Int(slot)]
    let wanted = min(record.waitingBytes, limit)
    guard wanted > 0 || record.isAnswerComplete else {
        unsafe state.pointee.streams[Int(slot)].isDeferred = true
        return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    let room = unsafe state.pointee.room - frameHeaderBytes
    guard room >= min(wanted, smallestPieceBytes) else {
        unsafe state.pointee.isRoomShort = true
        return Int(NGHTTP2_ERR_PAUSE.rawValue)
    }
    let count = min(wanted, room)
    unsafe state.pointee.isPiecemeal = limit < record.waitingBytes && limit < GlitchBudget.crumbBytes
    let isLast = count == record.waitingBytes && record.isAnswerComplete
    unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    guard isLast else { return count }
    unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    if record.hasTrailers, let trailers = unsafe state.pointee.trailers.removeValue(forKey: slot) {
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        _ = unsafe state.pointee.withScratch {
            unsafe FieldLines.submitTrailers(trailers.span, session, identifier, $0.fields)
        }
    }
    return count
}
