import CNghttp2
import Testing

@testable import HTTP2

/// What nghttp2 sees of the memory of its sessions.
@Suite struct HTTP2MemoryTests {
    private func filled(_ memory: nghttp2_mem, _ count: Int, with byte: UInt8) throws -> UnsafeMutablePointer<
        UInt8
    > {
        let block = try #require(memory.malloc(count, memory.mem_user_data)).assumingMemoryBound(
            to: UInt8.self)
        for index in 0..<count { block[index] = byte }
        return block
    }

    @Test("a block that was given back is the next one of its size, and of no other")
    func usedAgain() throws {
        let owner = HTTP2Memory()
        let memory = owner.callbacks
        let first = try filled(memory, 100, with: 1)
        memory.free(first, memory.mem_user_data)
        let other = try filled(memory, 300, with: 2)
        let second = try filled(memory, 97, with: 3)
        #expect(second == first)
        #expect(other != first)
        #expect(other[299] == 2)
        memory.free(other, memory.mem_user_data)
        memory.free(second, memory.mem_user_data)
    }

    @Test(
        "zeros are zeros in a block that was used",
        arguments: [(1, 1), (7, 30), (1, 1008), (3, 4096), (0, 8)])
    func zeros(count: Int, size: Int) throws {
        let owner = HTTP2Memory()
        let memory = owner.callbacks
        memory.free(try filled(memory, count * size, with: 0xFF), memory.mem_user_data)
        let block = try #require(memory.calloc(count, size, memory.mem_user_data))
        for index in 0..<(count * size) { #expect(block.load(fromByteOffset: index, as: UInt8.self) == 0) }
        memory.free(block, memory.mem_user_data)
    }

    @Test(
        "a block that grows keeps its bytes, and holds what it was asked for",
        arguments: [1, 47, 48, 49, 500, 1008, 1009, 2032, 2033, 4080, 4081, 70_000])
    func grows(count: Int) throws {
        let owner = HTTP2Memory()
        let memory = owner.callbacks
        var block: UnsafeMutableRawPointer? = try #require(memory.realloc(nil, count, memory.mem_user_data))
        for index in 0..<count {
            block?.storeBytes(of: UInt8(index & 0xFF), toByteOffset: index, as: UInt8.self)
        }
        for larger in [count + 1, count + 64, 2 * count, 100_000] {
            block = memory.realloc(block, larger, memory.mem_user_data)
            let bytes = try #require(block)
            for index in 0..<count {
                try #require(bytes.load(fromByteOffset: index, as: UInt8.self) == UInt8(index & 0xFF))
            }
            bytes.storeBytes(of: 0xEE, toByteOffset: larger - 1, as: UInt8.self)
        }
        memory.free(block, memory.mem_user_data)
    }

    @Test("more than an address space is refused")
    func tooMuch() {
        let owner = HTTP2Memory()
        let memory = owner.callbacks
        #expect(memory.malloc(Int.max, memory.mem_user_data) == nil)
        #expect(memory.malloc(Int.max - 8, memory.mem_user_data) == nil)
        #expect(memory.calloc(Int.max, 2, memory.mem_user_data) == nil)
        #expect(memory.realloc(nil, Int.max, memory.mem_user_data) == nil)
        memory.free(nil, memory.mem_user_data)
    }

    @Test("what is kept is bounded, and nothing is lost", arguments: [0, 1, 64])
    func bounded(kept: Int) throws {
        let owner = HTTP2Memory(kept: kept)
        let memory = owner.callbacks
        for _ in 0..<3 {
            let blocks = try (0..<200).map { try filled(memory, 1 + $0 * 6, with: UInt8($0)) }
            for (index, block) in blocks.enumerated() { #expect(block[index * 6] == UInt8(index)) }
            #expect(Set(blocks).count == blocks.count)
            for block in blocks { memory.free(block, memory.mem_user_data) }
            #expect(owner.keptCount <= 19 * kept)
        }
    }
}
