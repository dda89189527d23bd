import Formats
import Kernels
import TensorModel
import TestSupport
import Testing

/// Lists of stored tensors, which are made when they are asked for.
@Suite struct StoredTensorsTests {
  /// The parts of weights for GPTQ with these names, and a vector.
  private static func tensors(_ names: [String]) throws -> [StoredTensor] {
    let grouping = Grouping(bits: 4, groupSize: 32, offset: .zeroPoint, parameters: .f16)
    let parts = names.flatMap {
      Format.gptq.codec.parts(
        of: TensorInfo(name: $0, shape: Shape(8, 32), encoding: .grouped(grouping)))
    }
    return parts + [try #require(StoredTensor(plain: "norm.weight", Shape(32), .f32))]
  }

  @Test("parts of a weight have names of their own, also of another weight") func names() throws {
    let names = ["a.qweight", "a.qzeros", "a.scales", "a.g_idx", "norm.weight"]
    let tensors = try Self.tensors(["a.weight"])
    #expect(tensors.map(\.name) == names)
    var list = StoredTensors(tensors)
    list.append(Array(tensors.prefix(4)), of: "b.weight")
    #expect(list.map(\.name) == names + ["b.qweight", "b.qzeros", "b.scales", "b.g_idx"])
    #expect(list.suffix(4).map(\.info.form) == tensors.prefix(4).map(\.info.form))
  }

  @Test("a tensor that is renamed has the new name as it is") func renamed() throws {
    var tensors = try Self.tensors(["a.weight"])
    for index in tensors.indices { tensors[index].name = "b.weight" }
    #expect(tensors.allSatisfy { $0.name == "b.weight" })
  }

  @Test("a list has the tensors that it was made of, in any order") func order() throws {
    let tensors = try Self.tensors(["b.weight", "a.weight", "c.weight"])
    let list = StoredTensors(tensors)
    #expect(Array(list) == tensors)
    let order = Array(tensors.indices.reversed())
    #expect(Array(list.ordered(by: order)) == order.map { tensors[$0] })
    #expect(StoredTensors([]).isEmpty)
  }

  @Test("tensors are sorted by the bytes of their names (seed 91)") func sorted() throws {
    var random = Seeded(91)
    // Some layers have names that begin with those of others, and bytes around that of the dot. Few
    // layers often have none of these.
    let words = ["a", "a.b", "a-", "a0", "a.qx", "a.q", "ä", "layers.10", "layers.1", "layers.2"]
    for _ in 0..<200 {
      let count = 1 + random.below(words.count)
      let names = words.shuffled(using: &random).prefix(count).map { $0 + ".weight" }
      let list = StoredTensors(try Self.tensors(names))
      let start = Int.random(in: 0..<list.count, using: &random)
      let members = start..<Int.random(in: start...list.count, using: &random)
      let found = list.sortedByName(members).map { list[Int($0)].name }
      let expected = list[members].map(\.name)
      #expect(found == expected.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
    }
  }

  @Test("checksums of pieces in any order are that of the tensor (seed 92)") func checksums() {
    var random = Seeded(92)
    let bytes = (0..<100).map { _ in UInt8.random(in: 0...255, using: &random) }
    for _ in 0..<20 {
      let starts = stride(from: 0, to: 100, by: 7).shuffled(using: &random)
      var checksums = TensorChecksums(count: 3)
      for start in starts {
        let range = start..<min(100, start + 7)
        for tensor in 0..<2 {
          checksums.add(CRC32C(of: Array(bytes[range]).span), range, of: tensor)
        }
      }
      #expect(checksums[0] == CRC32C(of: bytes.span) && checksums[1] == checksums[0])
      #expect(checksums[2] == CRC32C())
    }
  }
}
