import Formats
import TensorModel
import TestSupport
import Testing
import Weights

/// How a tensor is divided into blocks.
@Suite struct BlockPartitionUnitTests {
  private func partition(
    _ shape: Shape, _ encoding: Encoding, _ unit: BlockPartition.Unit,
    fitting others: [RowLayout] = [], multiple: Int = 1
  ) -> BlockPartition {
    let info = TensorInfo(name: "a.weight", shape: shape, encoding: encoding)
    let codec: any WeightCodec = info.isGrouped ? PleatFileCodec() : PlainCodec()
    return BlockPartition(
      info, codec.parts(of: info), unit: unit, fitting: others, multiple: multiple)
  }

  @Test(
    "blocks and their tiles cover all units once, in order",
    arguments: [Shape(1, 1), Shape(3, 40), Shape(4800, 256), Shape(2, 614_400), Shape(0, 8)])
  func cover(shape: Shape) {
    for unit in [BlockPartition.Unit.row, .element] {
      let found = partition(shape, .plain(.f16), unit)
      var units: [Int] = []
      for block in 0..<found.blockCount {
        let range = found.units(of: block)
        units += found.tiles(range.count).flatMap { $0.map { $0 + range.lowerBound } }
      }
      #expect(units == Array(0..<found.unitCount))
      #expect(found.unitCount * found.elementsPerUnit == shape.elementCount || shape.rowCount == 0)
    }
  }

  @Test("a block has about 1 MiB of the source") func size() {
    let found = partition(Shape(1 << 14, 1024), .plain(.f16), .row)
    #expect(found.byteCount(of: found.units(of: 0)) == 1 << 20)
  }

  @Test("an output with stripes has large, equal blocks, each of several reads") func stripes() {
    // 4-bit codes of 4800 × 16384 weights, whose words hold eight columns.
    let stripes = RowLayout(
      stripeCount: 2048, stripeByteCount: 19200, rowsPerStep: 8, bytesPerStep: 32)
    let found = partition(Shape(4800, 16384), .plain(.f16), .row, fitting: [stripes])
    #expect(found.byteCount(of: 0..<found.unitsPerRead) == 1 << 20)
    #expect(found.blockCount == 5)
    #expect(stripes.byteCount(of: found.units(of: 0)) == stripes.byteCount / 5)
    for block in 0..<found.blockCount {
      let units = found.units(of: block)
      let reads = found.reads(units)
      #expect(reads.flatMap(Array.init) == Array(units))
      #expect(reads.dropLast().allSatisfy { $0.count == found.unitsPerRead })
    }
  }

  @Test("other blocks are read at once") func contiguous() {
    let found = partition(Shape(1 << 14, 1024), .plain(.f16), .row)
    #expect(found.reads(found.units(of: 3)) == [found.units(of: 3)])
  }

  @Test("units that share words stay together, and so do the rows of a head") func steps() {
    let stripes = RowLayout(stripeCount: 8, stripeByteCount: 400, rowsPerStep: 32, bytesPerStep: 4)
    let shared = partition(Shape(4800, 256), .plain(.f16), .row, fitting: [stripes])
    #expect(shared.unitsPerStep == 32 && shared.unitsPerBlock % 32 == 0)
    let heads = partition(Shape(4800, 256), .plain(.f16), .row, multiple: 48)
    #expect(heads.unitsPerBlock % 48 == 0)
  }

  @Test("the least common multiple is divisible by both (seed 17)") func multiples() {
    var random = Seeded(17)
    for _ in 0..<100 {
      let (a, b) = (Int(random.below(60)) + 1, Int(random.below(60)) + 1)
      let found = a.leastCommonMultiple(with: b)
      #expect(found % a == 0 && found % b == 0 && found <= a * b)
      #expect(!(1..<found).contains { $0 % a == 0 && $0 % b == 0 })
    }
  }
}
