import Formats
import Pleat
import Quantization
import TensorModel
import TestSupport
import Testing
import Weights

/// The steps from a wish to a job: translate, admit, partition, place.
@Suite struct JobResolverTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let grouping = Grouping(
    bits: 4, groupSize: 32, offset: .bias, parameters: .f16)

  /// The jobs of some wishes for a model of F16 tensors.
  private func jobs(
    _ tensors: [(String, [Int])], to format: Format, compresses: Bool = false,
    rounding: Bool = false, wish: (TensorInfo) -> TensorWish
  ) throws(ModelError) -> (jobs: [TensorJob], stored: [StoredTensor], byteCount: Int) {
    let model: Model
    do { model = try Models.named(tensors, in: scratch) } catch {
      throw ModelError(.io, "\(error)")
    }
    var resolver = JobResolver(
      model, Destination(path: scratch.path("out"), format: format, compresses: compresses),
      permitsRounding: rounding)
    for tensor in model.catalog.tensors { try resolver.append(wish(tensor), nil) }
    return (resolver.jobs, resolver.stored, resolver.byteCount)
  }

  private static func quantized(_ info: TensorInfo) -> TensorWish {
    TensorWish(
      info, to: .grouped(grouping),
      .encode([], .groups(Schemes.standard(for: .bias).quantizer(grouping))), "test")
  }

  // MARK: - Translate

  @Test("a translated norm becomes F32 plus 1") func translatedNorm() throws {
    var placement = GGUFTranslation.Tensor(name: "blk.0.attn_norm.weight")
    placement.isFloat32 = true
    placement.addsOne = true
    let norm = TensorInfo(name: "norm.weight", shape: Shape(8), encoding: .plain(.f16))
    let wish = try TensorWish(keeping: norm, "test").translated(placement)
    #expect(wish.target.name == placement.name)
    #expect(wish.target.encoding == .plain(.f32))
    guard case .encode(let edits, .rows(let encoder)) = wish.transform else {
      Issue.record("\(wish.transform)")
      return
    }
    #expect(edits == [.addOne] && encoder.encoding == .plain(.f32))
    #expect(wish.action == .decode)
  }

  @Test("a translated F32 vector is copied, and an F64 matrix becomes F32") func translatedTypes()
    throws
  {
    var placement = GGUFTranslation.Tensor(name: "b")
    placement.isFloat32 = true
    let vector = TensorInfo(name: "a", shape: Shape(8), encoding: .plain(.f32))
    #expect(try TensorWish(keeping: vector, "test").translated(placement).action == .copy)
    let matrix = TensorInfo(name: "a", shape: Shape(8, 8), encoding: .plain(.f64))
    let wish = try TensorWish(keeping: matrix, "test").translated(.init(name: "b"))
    #expect(wish.action == .decode && wish.target.encoding == .plain(.f32))
  }

  @Test("a tensor without a placement is left out") func leftOut() throws {
    let info = TensorInfo(name: "a", shape: Shape(8), encoding: .plain(.f32))
    #expect(try TensorWish(keeping: info, "test").translated(nil).action == .omit)
  }

  @Test("groups keep their encoding when llama.cpp wants F32") func translatedGroups() throws {
    var placement = GGUFTranslation.Tensor(name: "blk.0.ffn_gate_inp.weight")
    placement.isFloat32 = true
    let info = TensorInfo(name: "gate.weight", shape: Shape(8, 32), encoding: .plain(.f16))
    let wish = try Self.quantized(info).translated(placement)
    #expect(wish.action == .quantize && wish.target.isGrouped)
  }

  // MARK: - Admit

  @Test("a target that the format refuses is refused with the tensor and the planner's hint")
  func refused() throws {
    let error = Laws.error { () throws(ModelError) in
      try jobs([("experts", [2, 4, 64])], to: .mlx) {
        var wish = Self.quantized($0)
        wish.refusalHint = "do this"
        return wish
      }
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "experts")
    #expect(error?.what.contains("end in .weight") == true)
    #expect(error?.hint == "do this")
  }

  @Test("rounded scales need permission, and the job keeps the verdict") func rounded() throws {
    func wish(_ info: TensorInfo) -> TensorWish {
      var grouping = Self.grouping
      grouping.parameters = .f32
      return TensorWish(regrouping: info, to: grouping, "test")
    }
    let tensors = [("a.weight", [4, 64])]
    let error = Laws.error { () throws(ModelError) in
      try jobs(tensors, to: .gguf, wish: wish)
    }
    #expect(error?.kind == .unsupported && error?.tensor == "a.weight")
    let permitted = try jobs(tensors, to: .gguf, rounding: true, wish: wish).jobs
    guard case .rounded = permitted[0].admission else {
      Issue.record("\(permitted[0].admission)")
      return
    }
  }

  // MARK: - Partition

  @Test("plain numbers are divided by elements, groups by rows that fill whole words")
  func partitions() throws {
    let tensors = [("a.weight", [96, 64])]
    let copied = try jobs(tensors, to: .safetensors) { TensorWish(keeping: $0, "test") }.jobs[0]
    #expect(copied.partition.elementsPerUnit == 1 && copied.partition.unitCount == 96 * 64)
    #expect(copied.targetLayouts == copied.partition.layouts)
    let decoded = try jobs(tensors, to: .safetensors) {
      TensorWish(decoding: $0, to: .f32, "test")
    }.jobs[0]
    #expect(decoded.targetLayouts[0].bytesPerStep == 4)
    let grouped = try jobs(tensors, to: .pleat, wish: Self.quantized).jobs[0]
    #expect(grouped.partition.elementsPerUnit == 64 && grouped.partition.unitCount == 96)
    // 4-bit zero points of 8 rows share a word.
    let gptq = try jobs(tensors, to: .gptq) { info in
      var grouping = Self.grouping
      grouping.offset = .zeroPoint
      return TensorWish(
        info, to: .grouped(grouping),
        .encode([], .groups(Schemes.standard(for: .zeroPoint).quantizer(grouping))), "test")
    }.jobs[0]
    #expect(gptq.partition.unitsPerStep == 8)
  }

  @Test("the blocks of every job cover the tensor once, in order") func blocks() throws {
    let tensors = [("a.weight", [4800, 256]), ("b.weight", [1, 64]), ("c", [3])]
    for job in try jobs(tensors, to: .pleat, wish: { TensorWish(keeping: $0, "test") }).jobs {
      let units = (0..<job.blockCount).flatMap { Array(job.partition.units(of: $0)) }
      #expect(units == Array(0..<job.partition.unitCount))
      let sum = (0..<job.blockCount).reduce(0) { $0 + job.sourceByteCount(of: $1) }
      #expect(sum == job.source.shape.elementCount * 2)
    }
  }

  // MARK: - Place

  @Test("parts follow each other, and what is left out takes no place") func places() throws {
    let found = try jobs(
      [("a.weight", [4, 64]), ("b", [3]), ("c.weight", [2, 64])], to: .pleat
    ) { info in
      guard info.name != "b" else {
        var wish = TensorWish(keeping: info, "test")
        wish.transform = .omit
        return wish
      }
      return Self.quantized(info)
    }
    #expect(found.jobs.map(\.firstStoredIndex) == [0, 3, 3])
    #expect(found.jobs.map(\.blockCount) == [1, 0, 1])
    #expect(found.stored.map(\.role) == [.codes, .scales, .biases, .codes, .scales, .biases])
    #expect(found.byteCount == found.stored.reduce(0) { $0 + $1.byteCount })
  }

  @Test("the matrices of a stack share one stored tensor, each at its own offset")
  func stacks() throws {
    let model = try Models.named(
      (0..<3).map { ("experts.\($0).weight", [4, 64]) }, in: scratch)
    var resolver = JobResolver(
      model, Destination(path: scratch.path("out"), format: .gguf), permitsRounding: false)
    for (index, tensor) in model.catalog.tensors.enumerated() {
      var wish = TensorWish(keeping: tensor, "test")
      wish.target.name = "ffn_up_exps.weight"
      wish.placement = .init(name: "ffn_up_exps.weight")
      wish.placement?.stack = .init(index: index, count: 3)
      try resolver.append(wish, nil)
    }
    #expect(resolver.jobs.map(\.firstStoredIndex) == [0, 0, 0])
    #expect(resolver.jobs.map(\.offset) == [0, 512, 1024])
    #expect(resolver.stored.map(\.shape) == [Shape(3, 4, 64)])
  }

  @Test("copied groups are repacked where the target stores them in other bytes") func repacking()
    throws
  {
    let source = try Models.named([("a.weight", [8, 64])], in: scratch)
    let path = scratch.path("base.pleat")
    var recipe = Recipe()
    recipe.group = .columns(32)
    try Run(try Plan.quantizing(source, recipe, to: Destination(path: path, format: .pleat)))()
    let base = try Model.open(path)
    for (format, action) in [(Format.pleat, Action.copy), (.mlx, .repack), (.gguf, .repack)] {
      var resolver = JobResolver(
        base, Destination(path: scratch.path("out"), format: format), permitsRounding: false)
      try resolver.append(TensorWish(keeping: base.catalog.tensors[0], "test"), nil)
      #expect(resolver.jobs[0].action == action, "\(format.name)")
      #expect(resolver.jobs[0].copySources.contains { $0 != nil } == (action == .copy))
    }
  }
}
