import Formats
import Pleat
import Quantization
import TensorModel
import TestSupport
import Testing
import Weights

/// Where matrices of a stack, and the rows of divided tensors, are in the stored tensors.
@Suite struct StackTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A resolver after the matrices of a stack, each with a wish.
  private func stack(
    _ shapes: [[Int]], to format: Format, wish: (TensorInfo) -> TensorWish
  ) throws(ModelError) -> JobResolver {
    let model: Model
    do {
      model = try Models.named(
        shapes.enumerated().map { ("experts.\($0.offset).weight", $0.element) }, in: scratch)
    } catch {
      throw ModelError(.io, "\(error)")
    }
    var resolver = JobResolver(
      model, Destination(path: scratch.path("out"), format: format), permitsRounding: false)
    for (index, tensor) in model.catalog.tensors.enumerated() {
      var wish = wish(tensor)
      wish.placement = .init(
        name: "stack.weight", stack: .init(index: index, count: shapes.count))
      wish.target.name = "stack.weight"
      try resolver.append(wish, nil)
    }
    return resolver
  }

  @Test("the matrices of a stack share one stored tensor, each at its own index")
  func stacks() throws {
    let resolver = try stack(Array(repeating: [4, 64], count: 3), to: .gguf) {
      TensorWish(keeping: $0, "test")
    }
    #expect(resolver.jobs.map(\.place.storedIndices) == [[0], [0], [0]])
    #expect(resolver.jobs.map(\.place.stackIndex) == [0, 1, 2])
    #expect(resolver.jobs.map { $0.targetLayouts[0].byteCount } == [512, 512, 512])
    #expect(resolver.stored.map(\.shape) == [Shape(3, 4, 64)])
  }

  @Test("a stack of quantized matrices has one stored tensor for each part")
  func quantizedStacks() throws {
    let resolver = try stack(
      Array(repeating: [4, 64], count: 3), to: .mlx, wish: TensorWish.quantized)
    #expect(resolver.jobs.map(\.place.storedIndices) == Array(repeating: [0, 1, 2], count: 3))
    #expect(resolver.stored.map(\.name) == ["stack.weight", "stack.scales", "stack.biases"])
    #expect(resolver.stored.map(\.shape) == [Shape(3, 4, 8), Shape(3, 4, 2), Shape(3, 4, 2)])
    // 4 rows of 64 codes in 4 bits, then of 2 scales and of 2 biases in F16.
    for job in resolver.jobs { #expect(job.targetLayouts.map(\.byteCount) == [128, 16, 16]) }
    #expect(resolver.byteCount == 3 * 160)
    #expect(resolver.targets.map(\.name) == ["stack.weight"])
    #expect(resolver.targets.map(\.shape) == [Shape(3, 4, 64)])
  }

  @Test("matrices of a stack with another shape or encoding are refused by name")
  func unequalStacks() {
    let shapes = Laws.error { () throws(ModelError) in
      try stack([[4, 64], [4, 64], [8, 64]], to: .mlx) { TensorWish(keeping: $0, "test") }
    }
    #expect(shapes?.kind == .unsupported && shapes?.tensor == "experts.2.weight")
    #expect(shapes?.expected?.contains("4×64") == true)
    let encodings = Laws.error { () throws(ModelError) in
      try stack([[4, 64], [4, 64]], to: .mlx) {
        $0.name == "experts.1.weight" ? TensorWish(keeping: $0, "test") : TensorWish.quantized($0)
      }
    }
    #expect(encodings?.kind == .unsupported && encodings?.tensor == "experts.1.weight")
    #expect(encodings?.hint?.contains("all experts") == true)
  }

  @Test("the rows of each matrix of a divided tensor are dealt out in runs") func divided() throws {
    let model = try Models.named([("gate_up", [2, 6, 64])], in: scratch)
    var resolver = JobResolver(
      model, Destination(path: scratch.path("out"), format: .mlx), permitsRounding: false)
    var wish = TensorWish.quantized(model.catalog.tensors[0])
    wish.placement = .init(name: "gate.weight")
    wish.placement?.otherNames = ["up.weight"]
    wish.target.name = "gate.weight"
    try resolver.append(wish, nil)
    #expect(
      resolver.stored.map(\.name) == [
        "gate.weight", "gate.scales", "gate.biases", "up.weight", "up.scales", "up.biases",
      ])
    #expect(resolver.stored[3].shape == Shape(2, 3, 8))
    #expect(resolver.targets.map(\.shape) == [Shape(2, 3, 64), Shape(2, 3, 64)])
    let job = resolver.jobs[0]
    #expect(job.place.storedIndices == [0, 1, 2, 3, 4, 5])
    #expect(
      job.runs(of: 0..<12) == [
        .init(units: 0..<3, piece: 0, first: 0), .init(units: 3..<6, piece: 1, first: 0),
        .init(units: 6..<9, piece: 0, first: 3), .init(units: 9..<12, piece: 1, first: 3),
      ])
    #expect(
      job.runs(of: 4..<8) == [
        .init(units: 4..<6, piece: 1, first: 1), .init(units: 6..<8, piece: 0, first: 3),
      ])
  }
}
