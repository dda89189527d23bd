import Architectures
import Formats
import Pleat
import Quantization
import TensorModel
import TestSupport
import Testing

/// What becomes of a planner's decision in the names and forms of a runtime.
@Suite struct WishTranslationTests {
  @Test("a translated norm becomes F32 plus 1") func translatedNorm() throws {
    var placement = TensorPlacement(name: "blk.0.attn_norm.weight")
    placement.isFloat32 = true
    placement.addend = 1
    let norm = TensorInfo(name: "norm.weight", shape: Shape(8), encoding: .plain(.f16))
    let wish = try TensorWish(keeping: norm, "test").translated(placement, for: .llamaCpp)
    #expect(wish.target.name == placement.name)
    #expect(wish.target.encoding == .plain(.f32))
    guard case .encode(let edits, .rows(let encoder)) = wish.transform else {
      Issue.record("\(wish.transform)")
      return
    }
    #expect(edits == [.add(1)] && encoder.encoding == .plain(.f32))
    #expect(wish.action == .decode)
  }

  @Test("a translated F32 vector is copied, and an F64 matrix becomes F32") func translatedTypes()
    throws
  {
    var placement = TensorPlacement(name: "b")
    placement.isFloat32 = true
    let vector = TensorInfo(name: "a", shape: Shape(8), encoding: .plain(.f32))
    #expect(
      try TensorWish(keeping: vector, "test").translated(placement, for: .llamaCpp).action == .copy)
    let matrix = TensorInfo(name: "a", shape: Shape(8, 8), encoding: .plain(.f64))
    let wish = try TensorWish(keeping: matrix, "test").translated(.init(name: "b"), for: .llamaCpp)
    #expect(wish.action == .decode && wish.target.encoding == .plain(.f32))
  }

  @Test(
    "a norm for mlx-lm keeps its type, and the sum is rounded once",
    arguments: [
      ScalarType.f16, .bf16, .f32,
    ])
  func norm(type: ScalarType) throws {
    var placement = TensorPlacement(name: "a")
    placement.addend = 1
    let norm = TensorInfo(name: "a", shape: Shape(8), encoding: .plain(type))
    let wish = try TensorWish(keeping: norm, "test").translated(placement, for: .mlxLM)
    guard case .encode(let edits, .rows(let encoder)) = wish.transform else {
      Issue.record("\(wish.transform)")
      return
    }
    #expect(edits == [.add(1)] && encoder.encoding == .plain(type))
    #expect(wish.target.encoding == .plain(type))
  }

  @Test("what mlx-lm computes with when it loads a model stays or becomes plain numbers")
  func plainOnly() throws {
    var placement = TensorPlacement(name: "kv_b_proj.weight")
    placement.groups = .plain("mlx-lm splits it")
    let info = TensorInfo(name: "a", shape: Shape(8, 32), encoding: .plain(.bf16))
    let kept = try TensorWish(keeping: info, "test").translated(placement, for: .mlxLM)
    #expect(kept.action == .copy && kept.reason == "test")
    let wish = try TensorWish.quantized(info).translated(placement, for: .mlxLM)
    #expect(wish.action == .decode && wish.target.encoding == .plain(.f16))
    #expect(wish.reason == "test, but mlx-lm splits it")
    let grouped = TensorInfo(
      name: "a", shape: Shape(8, 32), encoding: .grouped(TensorWish.grouping))
    let decoded = try TensorWish(keeping: grouped, "test").translated(placement, for: .mlxLM)
    #expect(decoded.action == .decode && decoded.target.encoding == .plain(.f16))
  }

  @Test("what must not be quantized is refused only in groups, the rest always")
  func refusals() throws {
    var placement = TensorPlacement(name: "b")
    placement.groups = .refused("it is transposed")
    let info = TensorInfo(name: "a", shape: Shape(8, 32), encoding: .plain(.f16))
    #expect(
      try TensorWish(keeping: info, "test").translated(placement, for: .mlxLM).action == .copy)
    let error = Laws.error { () throws(ModelError) in
      try TensorWish.quantized(info).translated(placement, for: .mlxLM)
    }
    #expect(error?.kind == .unsupported && error?.tensor == "a")
    #expect(error?.found == "it is transposed" && error?.hint?.contains("a=keep") == true)
    placement.refusal = "it is interleaved"
    let always = Laws.error { () throws(ModelError) in
      try TensorWish(keeping: info, "test").translated(placement, for: .mlxLM)
    }
    #expect(always?.kind == .unsupported && always?.found == "it is interleaved")
  }

  @Test("a tensor that a planner leaves out stays left out") func omitted() throws {
    var placement = TensorPlacement(name: "b")
    placement.groups = .plain("mlx-lm splits it")
    var wish = TensorWish.quantized(
      TensorInfo(name: "a", shape: Shape(8, 32), encoding: .plain(.f16)))
    wish.transform = .omit
    #expect(try wish.translated(placement, for: .mlxLM).action == .omit)
  }

  @Test("a tensor without a placement is left out") func leftOut() throws {
    let info = TensorInfo(name: "a", shape: Shape(8), encoding: .plain(.f32))
    #expect(try TensorWish(keeping: info, "test").translated(nil, for: .mlxLM).action == .omit)
  }

  @Test("groups keep their encoding when llama.cpp wants F32") func translatedGroups() throws {
    var placement = TensorPlacement(name: "blk.0.ffn_gate_inp.weight")
    placement.isFloat32 = true
    let info = TensorInfo(name: "gate.weight", shape: Shape(8, 32), encoding: .plain(.f16))
    let wish = try TensorWish.quantized(info).translated(placement, for: .llamaCpp)
    #expect(wish.action == .quantize && wish.target.isGrouped)
  }
}
