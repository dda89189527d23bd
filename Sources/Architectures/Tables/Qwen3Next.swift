internal import Bytes
internal import TensorModel

extension Architecture {
  /// Qwen 3 Next.
  static let qwen3Next = hybridQwen(
    "qwen3next", ["qwen3_next"], className: "Qwen3NextForCausalLM",
    experts: qwenExperts, feedForward: CommonNames.router + CommonNames.sharedExpert,
    projections: [
      ("linear_attn.in_proj_qkv", "attn_qkv"), ("linear_attn.in_proj_z", "attn_gate"),
      ("linear_attn.in_proj_ba", "ssm_ba"),
    ],
    arrangements: [
      linear("in_proj_qkvz.weight") { fusedProjections(of: $0, $1) },
      linear("conv1d.weight") { tensor, sizes in
        convolution(tensor, sizes, [RowSelection(count: sizes.channelCount)])
      },
      linear("A_log") { tensor, sizes in
        decay(tensor, RowSelection(count: sizes.valueHeadCount))
      },
    ],
    returns: [
      linearReturn("in_proj_qkvz.weight", of: "attn_qkv.weight", "attn_gate.weight") {
        fusedReturn(of: $0, $1)
      },
      linearReturn("conv1d.weight", of: "ssm_conv1d.weight") { parts, sizes in
        unsqueezed(parts[0], sizes, [RowSelection(count: sizes.channelCount)])
      },
      linearReturn("A_log", of: "ssm_a") { parts, sizes in
        logarithm(parts[0], RowSelection(count: sizes.valueHeadCount))
      },
    ], hyperparameters: expertKeys,
    limits: ConfigLimit.expertsInAllLayers + [
      ConfigLimit("norm_topk_prob", only: [true], default: true)
    ])

  /// The rows of each head of keys: queries, keys, values, gates.
  private static func fusedReturn(
    of parts: [TensorView], _ sizes: LinearAttentionSizes
  ) -> TensorView? {
    let (headSize, valueCount) = (sizes.headSize, sizes.valuesPerKey * sizes.headSize)
    guard parts[0].shape.rank == 2, parts[0].shape.rowCount == sizes.channelCount,
      parts[1].shape.rowCount == sizes.valueRowCount
    else { return nil }
    let rows = (0..<sizes.keyHeadCount).flatMap { head in
      [
        RowSelection(from: head * headSize, count: headSize),
        RowSelection(from: sizes.keyRowCount + head * headSize, count: headSize),
        RowSelection(from: 2 * sizes.keyRowCount + head * valueCount, count: valueCount),
        RowSelection(from: sizes.channelCount + head * valueCount, count: valueCount),
      ]
    }
    return .joiningRows(
      of: parts, [sizes.channelCount + sizes.valueRowCount, parts[0].shape.columnCount], rows: rows)
  }

  /// Queries, keys and values, and gates: in a checkpoint those of each head of keys are together.
  private static func fusedProjections(
    of tensor: TensorInfo, _ sizes: LinearAttentionSizes
  ) -> [TensorView]? {
    let valueCount = sizes.valuesPerKey * sizes.headSize
    let length = 2 * sizes.headSize + 2 * valueCount
    let columnCount = tensor.shape.columnCount
    guard tensor.shape.dimensions == [sizes.keyHeadCount * length, columnCount],
      let channels = Shape(validating: [sizes.channelCount, columnCount]),
      let gates = Shape(validating: [sizes.valueRowCount, columnCount])
    else { return nil }
    func heads(from first: Int, _ count: Int) -> RowSelection {
      RowSelection(from: first, [(sizes.keyHeadCount, length), (count, 1)])
    }
    var projections = TensorView(name: "linear_attn.in_proj_qkv.weight", shape: channels, source: 0)
    projections.rows = [
      heads(from: 0, sizes.headSize), heads(from: sizes.headSize, sizes.headSize),
      heads(from: 2 * sizes.headSize, valueCount),
    ]
    var gate = TensorView(name: "linear_attn.in_proj_z.weight", shape: gates, source: 0)
    gate.rows = [heads(from: 2 * sizes.headSize + valueCount, valueCount)]
    return [projections, gate]
  }
}
