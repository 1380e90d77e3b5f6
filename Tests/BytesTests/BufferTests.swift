import Testing

@testable import Bytes

@Suite("Buffer and BlockPool")
struct BufferTests {
    private func text(_ buffer: borrowing Buffer) -> String {
        buffer.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test("A buffer without a block holds nothing and takes nothing")
    func detached() {
        var buffer = Buffer()
        #expect(!buffer.isAttached && buffer.isEmpty && buffer.room == 0 && buffer.capacity == 0)
        #expect(buffer.append("x") == false)
        #expect(buffer.append(0x78) == false)
        #expect(buffer.bytes.isEmpty == true)
        #expect(text(buffer) == "")
        var called = false
        buffer.withUnsafeRoom { _ in
            called = true
            return 0
        }
        #expect(called == false)
    }

    @Test("A word is added with its lowest byte first, whole or not at all")
    func words() {
        var pool = BlockPool(keptBytes: 1 << 20)
        var buffer = Buffer()
        #expect(buffer.append(word: 0) == false)
        buffer.attach(from: &pool, .tiny)
        while buffer.room >= 8 + 7 { #expect(buffer.append(word: 0x6867_6665_6463_6261) == true) }
        #expect(buffer.append("1") == true)
        #expect(buffer.room < 8 + 7 && buffer.bytes[0] == 0x61 && buffer.bytes[7] == 0x68)
        while buffer.room >= 8 { #expect(buffer.append("2") == true) }
        #expect(buffer.append(word: 0) == false)
        #expect(buffer.room == 7)
        buffer.detach(to: &pool)
    }

    @Test("Bytes come out as they went in; reading all starts the block anew")
    func roundTrip() {
        var pool = BlockPool(keptBytes: 1 << 20)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        #expect(buffer.append("GET ") == true)
        #expect(buffer.append(0x2F) == true)
        #expect(buffer.append(Array(" HTTP/1.1".utf8).span) == true)
        #expect(text(buffer) == "GET / HTTP/1.1")
        #expect(buffer.count == 14 && buffer.room == 16_384 - 14)
        buffer.consume(4)
        #expect(text(buffer) == "/ HTTP/1.1" && buffer.bytes[0] == 0x2F)
        #expect(buffer.room == 16_384 - 14)
        buffer.compact()
        #expect(text(buffer) == "/ HTTP/1.1" && buffer.room == 16_384 - 10)
        buffer.consume(10)
        #expect(buffer.isEmpty && buffer.room == 16_384)
        buffer.detachIfEmpty(to: &pool)
        #expect(!buffer.isAttached && pool.bytesInUse == 0)
    }

    @Test("What does not fit is refused, and nothing of it is kept")
    func full() {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        #expect(buffer.append([UInt8](repeating: 1, count: 16_383).span) == true)
        #expect(buffer.append([UInt8](repeating: 2, count: 2).span) == false)
        #expect(buffer.count == 16_383 && buffer.room == 1)
        #expect(buffer.append(3) == true)
        #expect(buffer.append(4) == false)
        #expect(buffer.append("x") == false)
        #expect(buffer.bytes[16_383] == 3)
        buffer.detach(to: &pool)
    }

    @Test("Growing keeps the unread bytes and gives the old block back")
    func grow() {
        var pool = BlockPool(keptBytes: 1 << 20)
        var buffer = Buffer()
        #expect(buffer.grow(in: &pool, to: .large) == false)
        buffer.attach(from: &pool)
        #expect(buffer.append("abcdef") == true)
        buffer.consume(2)
        #expect(buffer.grow(in: &pool, to: .small) == false)
        #expect(buffer.grow(in: &pool, to: .large) == true)
        #expect(text(buffer) == "cdef" && buffer.capacity == 262_144 && buffer.room == 262_140)
        #expect(buffer.grow(in: &pool, to: .medium) == false)
        #expect(pool.bytesInUse == 262_144)
        buffer.detachIfEmpty(to: &pool)
        #expect(buffer.isAttached == true)
        buffer.detach(to: &pool)
        #expect(pool.bytesInUse == 0)
    }

    @Test("Shrinking keeps the unread bytes, and room for as many more")
    func shrink() {
        var pool = BlockPool(keptBytes: 1 << 20)
        var buffer = Buffer()
        buffer.shrink(in: &pool)
        #expect(buffer.isAttached == false)
        buffer.attach(from: &pool, .medium)
        #expect(buffer.append("abcdef") == true)
        buffer.consume(2)
        buffer.shrink(in: &pool)
        #expect(text(buffer) == "cdef" && buffer.capacity == 4096 && buffer.room == 4092)
        buffer.shrink(in: &pool)
        #expect(pool.bytesInUse == 4096 && text(buffer) == "cdef")
        buffer.detach(to: &pool)
        buffer.attach(from: &pool)
        for _ in 0..<2049 { #expect(buffer.append(7) == true) }
        buffer.shrink(in: &pool)
        #expect(buffer.capacity == 16_384 && buffer.count == 2049)
        buffer.detach(to: &pool)
        #expect(pool.bytesInUse == 0)
    }

    @Test("Room comes from a first block, from the start of it, or from a larger one")
    func makeRoom() {
        var pool = BlockPool(keptBytes: 1 << 20)
        var buffer = Buffer()
        #expect(buffer.makeRoom(262_145, in: &pool) == false && buffer.isAttached == false)
        #expect(buffer.makeRoom(100, in: &pool, atLeast: .small) == true && buffer.capacity == 16_384)
        #expect(buffer.append("abcdef") == true)
        buffer.consume(2)
        #expect(buffer.makeRoom(16_380, in: &pool) == true && buffer.capacity == 16_384)
        #expect(text(buffer) == "cdef" && buffer.room == 16_380)
        #expect(buffer.makeRoom(16_381, in: &pool) == true && buffer.capacity == 65_536)
        #expect(buffer.makeRoom(262_141, in: &pool) == false && text(buffer) == "cdef")
        buffer.detach(to: &pool)
        #expect(pool.bytesInUse == 0)
    }

    @Test("A system call fills the room")
    func room() {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        #expect(buffer.append("ab") == true)
        buffer.withUnsafeRoom { room in
            #expect(room.count == 16_382)
            room.copyBytes(from: "cd".utf8)
            return 2
        }
        #expect(text(buffer) == "abcd")
        buffer.detach(to: &pool)
    }

    @Test("Attaching twice keeps the first block and its bytes")
    func attachTwice() {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        #expect(buffer.append("x") == true)
        buffer.attach(from: &pool, .large)
        #expect(text(buffer) == "x" && buffer.capacity == 16_384 && pool.bytesInUse == 16_384)
        buffer.detach(to: &pool)
        buffer.detach(to: &pool)
        #expect(pool.bytesInUse == 0)
    }

    @Test("Reading more than there is, and dropping a buffer with its block, are bugs")
    func bugs() async {
        await #expect(processExitsWith: .failure) {
            var pool = BlockPool(keptBytes: 0)
            var buffer = Buffer()
            buffer.attach(from: &pool)
            buffer.consume(1)
        }
        await #expect(processExitsWith: .failure) {
            var pool = BlockPool(keptBytes: 0)
            var buffer = Buffer()
            buffer.attach(from: &pool)
            _ = consume buffer
        }
    }

    @Test(
        "Size classes hold what they say",
        arguments: [
            (0, BlockPool.SizeClass.tiny), (4096, .tiny), (4097, .small), (16_384, .small), (16_385, .medium),
            (65_536, .medium),
            (65_537, .large), (262_144, .large), (262_145, nil),
        ] as [(Int, BlockPool.SizeClass?)])
    func sizeClasses(count: Int, expected: BlockPool.SizeClass?) {
        let sizeClass = BlockPool.SizeClass.holding(count)
        #expect(sizeClass == expected)
        if let sizeClass { #expect(sizeClass.byteCount >= count) }
    }

    @Test("A pool gives the same block again, of each size")
    func reuse() {
        var pool = BlockPool(keptBytes: 1 << 20)
        for sizeClass in [BlockPool.SizeClass.tiny, .small, .medium, .large] {
            var first: UInt = 0
            for round in 0..<3 {
                var buffer = Buffer()
                buffer.attach(from: &pool, sizeClass)
                #expect(pool.bytesInUse == sizeClass.byteCount)
                #expect(buffer.append("x") == true)
                let address = buffer.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
                if round == 0 { first = address }
                #expect(address == first)
                buffer.detach(to: &pool)
            }
        }
    }
}
