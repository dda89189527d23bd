import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// How changes of adapters are paired with tensors by name.
@Suite struct PairingNameTests {
  /// An adapter of layers whose weights are 12 × 16.
  private func adapter(_ paths: String...) -> ToyAdapter {
    .peft(paths.flatMap { [("\($0).lora_A.weight", [2, 16]), ("\($0).lora_B.weight", [12, 2])] })
  }

  private func pair(_ adapter: ToyAdapter, _ base: [BaseTensor]) throws(ModelError)
    -> [PairedChange]
  {
    try Pairing(base).pair(try adapter.read(), Pairing.Use(index: 4))
  }

  private func error(_ adapter: ToyAdapter, _ base: [BaseTensor]) -> ModelError? {
    Laws.error { () throws(ModelError) in try pair(adapter, base) }
  }

  /// Base tensors with a shape that fits.
  private func matrices(_ names: String...) -> [BaseTensor] { base(names.map { ($0, [12, 16]) }) }

  @Test("an exact name wins over names with the same ending") func exact() throws {
    let base = matrices("x.m.0.q.weight", "m.0.q.weight", "0.q.weight", "q.weight")
    let found = try pair(adapter("m.0.q"), base)
    #expect(found.map(\.tensor) == [1])
    #expect(found.map(\.adapter) == [4])
    #expect(found.map(\.rows) == [nil])
  }

  @Test(
    "prefixes of the adapter's or the base model's names are ignored",
    arguments: [
      ("m.0.q", "x.m.0.q.weight"), ("x.m.0.q", "m.0.q.weight"), ("x.y.m.0.q", "m.0.q.weight"),
      ("m.0.q", "base.x.m.0.q.weight"),
      // The words that larger models put before their text model.
      ("model.layers.0.q", "model.language_model.layers.0.q.weight"),
      ("model.language_model.layers.0.q", "model.layers.0.q.weight"),
      ("model.language_model.layers.0.q", "language_model.model.layers.0.q.weight"),
      ("language_model.model.layers.0.q", "model.language_model.layers.0.q.weight"),
      ("language_model.layers.0.q", "thinker.model.layers.0.q.weight"),
      ("model.layers.0.q", "layers.0.q.weight"),
    ])
  func prefixes(path: String, name: String) throws {
    #expect(try pair(adapter(path), matrices("other.weight", name)).map(\.tensor) == [1])
  }

  @Test(
    "only whole words of names are compared",
    arguments: [
      ("q", "mq.weight"), ("m.0.q", "m.10.q.weight"), ("0.q", "m.10.q.weight"),
      // A layer, or a tower, is no prefix.
      ("m.0.norm", "norm.weight"), ("vision_tower.norm", "norm.weight"),
      ("norm", "vision_tower.norm.weight"),
    ])
  func words(path: String, name: String) {
    #expect(error(adapter(path), matrices(name))?.kind == .mismatch)
  }

  @Test("a tensor of which others were made is refused with a next step") func arranged() {
    let error = Laws.error { () throws(ModelError) in
      try Pairing(matrices("m.0.k_b.weight"), isArranged: { $0 == "m.0.kv_b.weight" })
        .pair(try adapter("m.0.kv_b").read(), Pairing.Use(index: 0))
    }
    #expect(error?.kind == .unsupported && error?.tensor == "m.0.kv_b.weight")
    #expect(error?.hint == "fold into the Hugging Face model, then convert the result")
  }

  @Test("a name that fits several tensors matches none") func ambiguity() {
    let error = error(adapter("q"), matrices("m.a.q.weight", "m.b.q.weight"))
    #expect(error?.kind == .mismatch)
    #expect(error?.file == "toy")
    #expect(error?.tensor == "q.weight")
    #expect(error?.found == "m.a.q.weight and m.b.q.weight")
    #expect(self.error(adapter("x.y.q"), matrices("q.weight", "y.q.weight"))?.kind == .mismatch)
  }

  @Test("unmatched names are counted, and similar names are suggested")
  func unmatched() {
    let base = matrices("m.0.q_proj.weight", "m.0.k_proj.weight", "m.0.up.weight")
    let one = error(adapter("m.0.q_prj"), base)
    #expect(one?.kind == .mismatch)
    #expect(one?.tensor == "m.0.q_prj.weight")
    #expect(one?.expected?.hasPrefix("a name such as m.0.q_proj.weight, m.0.k_proj.weight") == true)
    #expect(one?.hint?.contains("no tensor has this layer and name") == true)
    let several = error(adapter("m.0.q_proj", "zzz", "yyy"), base)
    #expect(several?.what.contains("2 parts") == true)
    #expect(several?.tensor == "zzz.weight")
    #expect(several?.expected == nil)
    #expect(several?.hint?.contains("another model") == true)
  }

  @Test(
    "the tensor with the same layer and name is shown if other words stand before the layer",
    arguments: [
      ("transformer.layers.0.q", "model.layers.0.q.weight"),
      ("model.decoder.layers.0.q", "model.layers.0.q.weight"),
      ("backbone.embed_tokens", "model.embed_tokens.weight"),
    ])
  func otherWords(path: String, name: String) {
    let error = error(adapter(path), matrices(name, "model.layers.1.q.weight"))
    #expect(error?.kind == .mismatch && error?.tensor == path + ".weight")
    #expect(error?.hint?.hasPrefix("\(name) has this layer and name") == true)
  }

  @Test("a missing head is named if nothing could serve as one") func missingHead() {
    for adapter in [
      adapter("lm_head"),
      .gguf([("output.weight.lora_a", [2, 16]), ("output.weight.lora_b", [12, 2])]),
    ] {
      let error = error(adapter, matrices("model.embed_tokens.weight"))
      #expect(error?.kind == .mismatch)
      #expect(error?.hint?.contains("neither a head nor embeddings") == true)
    }
  }

  @Test(
    "a head for another task is named as one",
    arguments: ["score", "classifier.dense", "v_head.summary", "model.score"])
  func taskHeads(path: String) {
    let error = error(adapter(path), matrices("model.layers.0.q.weight"))
    #expect(error?.kind == .mismatch && error?.tensor == path + ".weight")
    #expect(error?.what.contains("head for classification or values") == true)
  }

  @Test("a base model without tensors matches nothing") func empty() {
    #expect(error(adapter("q"), [])?.kind == .mismatch)
    #expect(error(adapter(), [])?.kind == .malformed)
  }

  @Test("names are compared byte by byte") func exactness() {
    #expect(error(adapter("m.caf\u{e9}"), matrices("m.cafe\u{301}.weight"))?.kind == .mismatch)
  }

  // MARK: - Aliases

  private static let order = RotaryRowOrder(headCount: 3, headSize: 4)

  /// Two tensors of a GGUF file, with their Hugging Face names as aliases.
  private func aliased() throws -> [BaseTensor] {
    var base = matrices("blk.0.attn_q.weight", "blk.0.attn_v.weight")
    base[0].alias = "model.layers.0.self_attn.q_proj.weight"
    base[0].aliasRows = RowMap(try #require(Self.order), fromInterleaved: true)
    base[1].alias = "model.layers.0.self_attn.v_proj.weight"
    return base
  }

  @Test(
    "an alias matches, and brings its row order",
    arguments: ["", "language_model."])
  func aliases(prefix: String) throws {
    let path = "\(prefix)model.layers.0.self_attn"
    let found = try pair(adapter("\(path).v_proj", "\(path).q_proj"), aliased())
    #expect(found.map(\.tensor) == [1, 0])
    #expect(found[0].rows == nil)
    #expect(found[1].rows == RowMap(try #require(Self.order), fromInterleaved: true))
  }

  @Test("the base model's own name keeps the row order") func ownNames() throws {
    let adapter = ToyAdapter.gguf([
      ("blk.0.attn_q.weight.lora_a", [2, 16]), ("blk.0.attn_q.weight.lora_b", [12, 2]),
    ])
    let found = try pair(adapter, aliased())
    #expect(found.map(\.tensor) == [0] && found.map(\.rows) == [nil])
  }

  @Test("aliases are suggested, too") func nearestAlias() throws {
    let error = error(adapter("model.layers.0.self_attn.q_prj"), try aliased())
    #expect(error?.expected?.contains("model.layers.0.self_attn.q_proj.weight") == true)
  }

  @Test(
    "the row maps of both directions are inverse to each other",
    arguments: [(1, 2), (3, 4), (2, 64), (5, 6)])
  func rowMaps(heads: Int, size: Int) throws {
    let order = try #require(RotaryRowOrder(headCount: heads, headSize: size))
    let (there, back) = (
      RowMap(order, fromInterleaved: true), RowMap(order, fromInterleaved: false)
    )
    for row in 0..<heads * size {
      #expect(back(there(row)) == row && there(back(row)) == row)
      // Heads × half × 2 becomes heads × 2 × half.
      let (head, pair, part) = (row / size, row % size / 2, row % 2)
      #expect(there(row) == head * size + part * (size / 2) + pair)
    }
  }

  // MARK: - Repeats

  @Test("two changes of the same tensor are refused") func repeats() throws {
    let two = error(adapter("m.0.q", "x.m.0.q"), matrices("m.0.q.weight"))
    #expect(two?.kind == .mismatch)
    #expect(two?.tensor == "m.0.q.weight")
    let both = ToyAdapter.peft([("q.weight", [12, 16]), ("q.modules_to_save.weight", [12, 16])])
    #expect(error(both, matrices("q.weight"))?.kind == .mismatch)
    var alias = try aliased()
    alias[0].alias = "q.weight"
    #expect(error(adapter("q", "blk.0.attn_q"), alias)?.kind == .mismatch)
  }
}
