import Bytes
import TensorModel
import TestSupport
import Testing

@Suite struct PlaneCodecTests {
  /// Blocks of `count` bytes: zeros, constant, random, half random, a ramp, and 16-bit weights.
  private static func contents(_ count: Int) -> [[UInt8]] {
    var random = Seeded(UInt64(count))
    let noise = random.bytes(count)
    return [
      [UInt8](repeating: 0, count: count), [UInt8](repeating: 0xFF, count: count), noise,
      noise.enumerated().map { $0 % 2 == 0 ? $1 : 60 }, (0..<count).map { UInt8($0 / 7 % 256) },
      Array(Numbers.f16(random.weights((count + 1) / 2)).prefix(count)),
    ]
  }

  private static let compressor = ZstdCompressor()

  /// The frame of a block; nil if the block would not shrink.
  private static func frame(of block: [UInt8]) -> [UInt8]? {
    let encoded = PlaneCodec(planeCount: 1).encode(block, with: compressor)
    return encoded.bytes.count < block.count ? encoded.bytes : nil
  }

  @Test(
    "decoding an encoded block gives the block", arguments: [1, 2],
    [0, 2, 4, 6, 100, 1000, 65536, 100_002])
  func roundTrip(planes: Int, count: Int) throws {
    let codec = PlaneCodec(planeCount: planes)
    for block in Self.contents(count) {
      let encoded = codec.encode(block, with: Self.compressor)
      #expect(encoded.sizes.count == planes)
      #expect(encoded.sizes.allSatisfy { $0 <= count / planes })
      #expect(encoded.sizes.reduce(0, +) == encoded.bytes.count)
      var again = [UInt8](repeating: 0xaa, count: count)
      try codec.decode(encoded.bytes, sizes: encoded.sizes, into: &again)
      let isSame = again == block
      #expect(isSame)
    }
  }

  @Test("blocks of odd length fit one plane", arguments: [1, 3, 4097])
  func oddLengths(count: Int) throws {
    let codec = PlaneCodec(planeCount: 1)
    for block in Self.contents(count) {
      let encoded = codec.encode(block, with: Self.compressor)
      var again = [UInt8](repeating: 0xaa, count: count)
      try codec.decode(encoded.bytes, sizes: encoded.sizes, into: &again)
      #expect(again == block)
    }
  }

  @Test("two planes are the low bytes and the high bytes") func order() {
    let encoded = PlaneCodec(planeCount: 2).encode([1, 2, 3, 4, 5, 6], with: Self.compressor)
    #expect(encoded.bytes == [1, 3, 5, 2, 4, 6])
    #expect(encoded.sizes == [3, 3])
  }

  @Test("a frame of another size is refused") func sizes() throws {
    let block = [UInt8](repeating: 3, count: 1000)
    let frame = try #require(Self.frame(of: block))
    for count in [0, 1, 999, 1001, 5000] {
      var target = [UInt8](repeating: 0, count: count)
      let error = Laws.error { () throws(ModelError) in
        try PlaneCodec(planeCount: 1).decode(frame, sizes: [frame.count], into: &target)
      }
      #expect(error?.kind == .malformed, "\(count)")
    }
  }

  @Test("a damaged frame is refused or gives other bytes, but never traps") func damage() throws {
    var random = Seeded(9)
    let block = random.bytes(300) + [UInt8](repeating: 1, count: 700)
    let frame = try #require(Self.frame(of: block))
    for offset in frame.indices {
      for mask: UInt8 in [1, 0x80, 0xFF] {
        var damaged = frame
        damaged[offset] ^= mask
        var target = [UInt8](repeating: 0, count: 1000)
        let error = Laws.error { () throws(ModelError) in
          try PlaneCodec(planeCount: 1).decode(damaged, sizes: [damaged.count], into: &target)
        }
        #expect(error == nil || error?.kind == .malformed)
      }
    }
    for length in frame.indices {
      var target = [UInt8](repeating: 0, count: 1000)
      let error = Laws.error { () throws(ModelError) in
        try PlaneCodec(planeCount: 1).decode(
          Array(frame[..<length]), sizes: [length], into: &target)
      }
      #expect(error?.kind == .malformed, "\(length) bytes")
    }
  }

  @Test("a block that would not shrink is not compressed") func incompressible() {
    var random = Seeded(10)
    for count in [0, 1, 2, 16, 1000] {
      #expect(Self.frame(of: random.bytes(count)) == nil)
    }
  }
}
