import Formats
import Pleat
import Quantization
import TensorModel
import TestSupport
import Testing
import Weights

/// The steps from a wish to a job, without translation: admit, partition, place.
@Suite struct JobResolverTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

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
    return (resolver.jobs, Array(resolver.stored), resolver.byteCount)
  }

  // MARK: - Admit

  @Test("a target that the format refuses is refused with the tensor and the planner's hint")
  func refused() throws {
    let error = Laws.error { () throws(ModelError) in
      try jobs([("experts", [2, 4, 64])], to: .mlx) {
        var wish = TensorWish.quantized($0)
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
      var grouping = TensorWish.grouping
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
    let grouped = try jobs(tensors, to: .pleat, wish: TensorWish.quantized).jobs[0]
    #expect(grouped.partition.elementsPerUnit == 64 && grouped.partition.unitCount == 96)
    // 4-bit zero points of 8 rows share a word.
    let gptq = try jobs(tensors, to: .gptq) { info in
      var grouping = TensorWish.grouping
      grouping.offset = .zeroPoint
      return TensorWish(
        info, to: .grouped(grouping),
        .encode([], .groups(Schemes.standard.quantizer(grouping))), "test")
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
      return TensorWish.quantized(info)
    }
    #expect(found.jobs.map(\.place.storedIndices) == [[0, 1, 2], [], [3, 4, 5]])
    #expect(found.jobs.map(\.blockCount) == [1, 0, 1])
    #expect(found.stored.map(\.role) == [.codes, .scales, .biases, .codes, .scales, .biases])
    #expect(found.byteCount == found.stored.reduce(0) { $0 + $1.byteCount })
  }

  @Test(
    "tensors with one decision get the jobs that each of them would get alone",
    arguments: [Format.pleat, .mlx, .gguf, .safetensors])
  func families(format: Format) throws {
    let tensors = [
      ("0.up.weight", [4, 64]), ("0.norm", [64]), ("0.down.weight", [2, 128]),
      ("1.up.weight", [4, 64]), ("1.norm", [64]), ("1.down.weight", [2, 128]),
    ]
    func wish(_ info: TensorInfo) -> TensorWish {
      info.shape.rank < 2 || format.bits.isEmpty
        ? TensorWish(keeping: info, "test") : TensorWish.quantized(info)
    }
    var decided: [Shape: TensorWish] = [:]
    let shared = try jobs(tensors, to: format) { info in
      let first = decided[info.shape] ?? wish(info)
      decided[info.shape] = first
      return TensorWish(info.name, like: first)
    }
    let alone = try jobs(tensors, to: format, wish: wish)
    #expect(shared.jobs.map(\.source) == alone.jobs.map(\.source))
    #expect(shared.jobs.map(\.target) == alone.jobs.map(\.target))
    #expect(shared.jobs.map(\.place) == alone.jobs.map(\.place))
    #expect(shared.jobs.map(\.partition) == alone.jobs.map(\.partition))
    #expect(shared.jobs.map(\.targetLayouts) == alone.jobs.map(\.targetLayouts))
    #expect(
      shared.jobs.map { $0.copySources.map { $0?.offset } }
        == alone.jobs.map { $0.copySources.map { $0?.offset } })
    #expect(shared.stored == alone.stored && shared.byteCount == alone.byteCount)
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
