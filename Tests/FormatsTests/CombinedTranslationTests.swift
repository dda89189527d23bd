import Architectures
import Formats
import TensorModel
import Testing

/// Translations of what another one names.
@Suite struct CombinedTranslationTests {
  private struct Placements: Translation {
    var runtime = Runtime.mlxLM
    var placements: [TensorPlacement?]
    var additions: [TensorAddition] = []
  }

  private let stack = TensorInfo(
    name: "blk.0.ffn_up_exps.weight", shape: Shape(3, 4, 8), encoding: .plain(.f16))

  /// A translation that divides the stack into its matrices.
  private var divided: Placements {
    var placement = TensorPlacement(name: "experts.0")
    placement.otherNames = ["experts.1", "experts.2"]
    placement.shape = Shape(12, 8)
    return Placements(placements: [nil, placement])
  }

  private func combined(_ second: [TensorPlacement?]) throws -> CombinedTranslation {
    try CombinedTranslation(
      [stack, stack], divided, then: Placements(placements: second))
  }

  @Test("the matrices of a stack are tensors in between") func between() {
    let tensors = CombinedTranslation.tensors([stack, stack], after: divided)
    #expect(tensors.map(\.name) == ["experts.0", "experts.1", "experts.2"])
    #expect(tensors.allSatisfy { $0.shape == Shape(4, 8) })
  }

  @Test("a stack that is divided and stacked again keeps its form") func stackedAgain() throws {
    let found = try combined(
      (0..<3).map { TensorPlacement(name: "switch", stack: .init(index: $0, count: 3)) })
    #expect(found.placements == [nil, TensorPlacement(name: "switch")])
  }

  @Test("matrices that get other names are divided") func renamed() throws {
    let placement = try #require(
      try combined((0..<3).map { TensorPlacement(name: "mlp.\($0)") }).placements[1])
    #expect(placement.names == ["mlp.0", "mlp.1", "mlp.2"])
    #expect(placement.shape == Shape(12, 8))
  }

  @Test("a stack that is left out is left out") func leftOut() throws {
    #expect(try combined([nil, nil, nil]).placements == [nil, nil])
  }

  @Test("matrices in another order, or only some of them, are refused by name") func refused() {
    func stacked(_ indices: [Int], _ count: Int = 3) -> [TensorPlacement?] {
      indices.map { TensorPlacement(name: "switch", stack: .init(index: $0, count: count)) }
    }
    for second in [stacked([1, 0, 2]), stacked([0, 1, 2], 4), [nil] + stacked([1, 2])] {
      let error = #expect(throws: ModelError.self) { try combined(second) }
      #expect(error?.kind == .unsupported && error?.tensor == stack.name)
    }
  }

  @Test("additions get the names and shapes of the second translation") func additions() throws {
    let stored = try #require(StoredTensor(plain: "alpha", Shape(1, 1, 2), .f32))
    var first = divided
    first.additions = [TensorAddition(stored: stored, bytes: Array(repeating: 0, count: 8))]
    var renamed = TensorPlacement(name: "beta")
    renamed.shape = Shape(2)
    let others: [TensorPlacement?] = (0..<3).map { TensorPlacement(name: "mlp.\($0)") }
    let found = try CombinedTranslation(
      [stack, stack], first, then: Placements(placements: others + [renamed])
    ).additions
    #expect(found.map(\.stored.name) == ["beta"] && found[0].stored.shape == Shape(2))
  }
}
