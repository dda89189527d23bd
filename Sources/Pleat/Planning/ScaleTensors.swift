internal import Kernels
internal import TensorModel
internal import Weights

/// The tensors by which llama.cpp multiplies the products of other weights.
///
/// `blk.0.attn_q.scale` belongs to `blk.0.attn_q.weight`: one number, or one for each expert. Those
/// of weights in NVFP4 are parts of these (`BlockFactors`); others are tensors of their own. The
/// functions `build_lora_mm` and `build_lora_mm_id` of src/llama-graph.cpp multiply by them before
/// they add an adapter.
struct ScaleTensors {
  private let names: Set<ExactName>

  /// Finds those of a model with the names of llama.cpp; others have none.
  init(of model: Model) {
    let tensors = model.isGGUF ? model.catalog.tensors : []
    names = Set(tensors.lazy.map(\.name).filter { $0.hasSuffix(".scale") }.map { ExactName($0) })
  }

  /// Throws `unsupported` if adapters change a weight that has one, or if it is decoded from NVFP4.
  ///
  /// Older versions of Pleat copied both tensors of NVFP4 to pleat files.
  func check(_ wish: TensorWish) throws(ModelError) {
    let suffix = "weight"
    guard !names.isEmpty, wish.source.name.hasSuffix(".\(suffix)"),
      case let scale = wish.source.name.dropLast(suffix.count) + "scale",
      names.contains(ExactName(String(scale)))
    else { return }
    if wish.transform.foldsAdapters {
      throw ModelError(
        .unsupported, "an adapter changes a weight whose products llama.cpp multiplies by \(scale)",
        tensor: wish.source.name, hint: "fold into the checkpoint that the file was made from")
    }
    guard case .encode = wish.transform, wish.source.encoding == BlockType.nvfp4.encoding else {
      return
    }
    throw ModelError(
      .unsupported, "the numbers of the weight need its scale, which is a tensor of its own here",
      tensor: wish.source.name, expected: "no \(scale)", found: "\(wish.source.encoding)",
      hint: "make the file again from the gguf file or the checkpoint, or convert it to gguf")
  }
}
