# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the tensors of real checkpoints are called, written down from the code that makes them.

A line is a name and a shape; `{a,b}` and `{0..2}` stand for one name each, as in a shell.
"""

import itertools
import re

# google-research/vision_transformer, models_vit.py; files are numbered as before Linen, see
# `flax.training.checkpoints.convert_pre_linen`. AugReg Ti/16, fine-tuned.
AUGREG_TI16 = """
cls 1,1,192
embedding/kernel 16,16,3,192
embedding/bias 192
Transformer/posembed_input/pos_embedding 1,197,192
Transformer/encoderblock_{0..11}/LayerNorm_{0,2}/{scale,bias} 192
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/{query,key,value}/kernel 192,3,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/{query,key,value}/bias 3,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/out/kernel 3,64,192
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/out/bias 192
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_0/kernel 192,768
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_0/bias 768
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_1/kernel 768,192
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_1/bias 192
Transformer/encoder_norm/{scale,bias} 192
head/kernel 192,1000
head/bias 1000
"""

# The same with models_resnet.py: R26+S/32; the norms of the ResNet have axes of one.
AUGREG_R26_S32 = """
conv_root/kernel 7,7,3,64
gn_root/{scale,bias} 1,1,1,64
block1/unit1/conv1/kernel 1,1,64,64
block1/unit2/conv1/kernel 1,1,256,64
block1/unit{1,2}/conv2/kernel 3,3,64,64
block1/unit{1,2}/conv3/kernel 1,1,64,256
block1/unit{1,2}/gn{1,2}/{scale,bias} 1,1,1,64
block1/unit{1,2}/gn3/{scale,bias} 1,1,1,256
block1/unit1/conv_proj/kernel 1,1,64,256
block1/unit1/gn_proj/{scale,bias} 1,1,1,256
block2/unit1/conv1/kernel 1,1,256,128
block2/unit2/conv1/kernel 1,1,512,128
block2/unit{1,2}/conv2/kernel 3,3,128,128
block2/unit{1,2}/conv3/kernel 1,1,128,512
block2/unit{1,2}/gn{1,2}/{scale,bias} 1,1,1,128
block2/unit{1,2}/gn3/{scale,bias} 1,1,1,512
block2/unit1/conv_proj/kernel 1,1,256,512
block2/unit1/gn_proj/{scale,bias} 1,1,1,512
block3/unit1/conv1/kernel 1,1,512,256
block3/unit2/conv1/kernel 1,1,1024,256
block3/unit{1,2}/conv2/kernel 3,3,256,256
block3/unit{1,2}/conv3/kernel 1,1,256,1024
block3/unit{1,2}/gn{1,2}/{scale,bias} 1,1,1,256
block3/unit{1,2}/gn3/{scale,bias} 1,1,1,1024
block3/unit1/conv_proj/kernel 1,1,512,1024
block3/unit1/gn_proj/{scale,bias} 1,1,1,1024
block4/unit1/conv1/kernel 1,1,1024,512
block4/unit2/conv1/kernel 1,1,2048,512
block4/unit{1,2}/conv2/kernel 3,3,512,512
block4/unit{1,2}/conv3/kernel 1,1,512,2048
block4/unit{1,2}/gn{1,2}/{scale,bias} 1,1,1,512
block4/unit{1,2}/gn3/{scale,bias} 1,1,1,2048
block4/unit1/conv_proj/kernel 1,1,1024,2048
block4/unit1/gn_proj/{scale,bias} 1,1,1,2048
cls 1,1,384
embedding/kernel 1,1,2048,384
embedding/bias 384
Transformer/posembed_input/pos_embedding 1,50,384
Transformer/encoderblock_{0..11}/LayerNorm_{0,2}/{scale,bias} 384
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/{query,key,value}/kernel 384,6,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/{query,key,value}/bias 6,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/out/kernel 6,64,384
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_1/out/bias 384
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_0/kernel 384,1536
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_0/bias 1536
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_1/kernel 1536,384
Transformer/encoderblock_{0..11}/MlpBlock_3/Dense_1/bias 384
Transformer/encoder_norm/{scale,bias} 384
head/kernel 384,1000
head/bias 1000
"""

# google-research/vision_transformer, models_mixer.py: Mixer-B/16 on ImageNet-1k.
MIXER_B16 = """
stem/kernel 16,16,3,768
stem/bias 768
MixerBlock_{0..11}/LayerNorm_{0,1}/{scale,bias} 768
MixerBlock_{0..11}/token_mixing/Dense_0/kernel 196,384
MixerBlock_{0..11}/token_mixing/Dense_0/bias 384
MixerBlock_{0..11}/token_mixing/Dense_1/kernel 384,196
MixerBlock_{0..11}/token_mixing/Dense_1/bias 196
MixerBlock_{0..11}/channel_mixing/Dense_0/kernel 768,3072
MixerBlock_{0..11}/channel_mixing/Dense_0/bias 3072
MixerBlock_{0..11}/channel_mixing/Dense_1/kernel 3072,768
MixerBlock_{0..11}/channel_mixing/Dense_1/bias 768
pre_head_layer_norm/{scale,bias} 768
head/kernel 768,1000
head/bias 1000
"""

# google-research/big_vision, models/vit.py: S/16 of arXiv 2205.01580, pooled by averaging.
BIG_VISION_S16 = """
embedding/kernel 16,16,3,384
embedding/bias 384
Transformer/encoderblock_{0..11}/LayerNorm_{0,1}/{scale,bias} 384
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_0/{query,key,value}/kernel 384,6,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_0/{query,key,value}/bias 6,64
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_0/out/kernel 6,64,384
Transformer/encoderblock_{0..11}/MultiHeadDotProductAttention_0/out/bias 384
Transformer/encoderblock_{0..11}/MlpBlock_0/Dense_0/kernel 384,1536
Transformer/encoderblock_{0..11}/MlpBlock_0/Dense_0/bias 1536
Transformer/encoderblock_{0..11}/MlpBlock_0/Dense_1/kernel 1536,384
Transformer/encoderblock_{0..11}/MlpBlock_0/Dense_1/bias 384
Transformer/encoder_norm/{scale,bias} 384
head/kernel 384,1000
head/bias 1000
"""

# The same, the image tower of SigLIP B/16 at 256 pixels, cut to two blocks: positions at the top, a
# MAP head and no classifier.
BIG_VISION_SIGLIP = """
embedding/kernel 16,16,3,768
embedding/bias 768
pos_embedding 1,256,768
Transformer/encoderblock_{0..1}/LayerNorm_{0,1}/{scale,bias} 768
Transformer/encoderblock_{0..1}/MultiHeadDotProductAttention_0/{query,key,value}/kernel 768,12,64
Transformer/encoderblock_{0..1}/MultiHeadDotProductAttention_0/{query,key,value}/bias 12,64
Transformer/encoderblock_{0..1}/MultiHeadDotProductAttention_0/out/kernel 12,64,768
Transformer/encoderblock_{0..1}/MultiHeadDotProductAttention_0/out/bias 768
Transformer/encoderblock_{0..1}/MlpBlock_0/Dense_0/kernel 768,3072
Transformer/encoderblock_{0..1}/MlpBlock_0/Dense_0/bias 3072
Transformer/encoderblock_{0..1}/MlpBlock_0/Dense_1/kernel 3072,768
Transformer/encoderblock_{0..1}/MlpBlock_0/Dense_1/bias 768
Transformer/encoder_norm/{scale,bias} 768
MAPHead_0/probe 1,1,768
MAPHead_0/MultiHeadDotProductAttention_0/{query,key,value}/kernel 768,12,64
MAPHead_0/MultiHeadDotProductAttention_0/{query,key,value}/bias 12,64
MAPHead_0/MultiHeadDotProductAttention_0/out/kernel 12,64,768
MAPHead_0/MultiHeadDotProductAttention_0/out/bias 768
MAPHead_0/LayerNorm_0/{scale,bias} 768
MAPHead_0/MlpBlock_0/Dense_0/kernel 768,3072
MAPHead_0/MlpBlock_0/Dense_0/bias 3072
MAPHead_0/MlpBlock_0/Dense_1/kernel 3072,768
MAPHead_0/MlpBlock_0/Dense_1/bias 768
"""

# facebookresearch/deit, models.py on timm's VisionTransformer: deit_tiny_distilled_patch16_224.
DEIT_TI_DISTILLED = """
{cls,dist}_token 1,1,192
pos_embed 1,198,192
patch_embed.proj.weight 192,3,16,16
patch_embed.proj.bias 192
blocks.{0..11}.norm{1,2}.{weight,bias} 192
blocks.{0..11}.attn.qkv.weight 576,192
blocks.{0..11}.attn.qkv.bias 576
blocks.{0..11}.attn.proj.weight 192,192
blocks.{0..11}.attn.proj.bias 192
blocks.{0..11}.mlp.fc1.weight 768,192
blocks.{0..11}.mlp.fc1.bias 768
blocks.{0..11}.mlp.fc2.weight 192,768
blocks.{0..11}.mlp.fc2.bias 192
norm.{weight,bias} 192
{head,head_dist}.weight 1000,192
{head,head_dist}.bias 1000
"""

# facebookresearch/deit, models_v2.py: deit_small_patch16_LS at 224 pixels; no position for cls.
DEIT3_S = """
cls_token 1,1,384
pos_embed 1,196,384
patch_embed.proj.weight 384,3,16,16
patch_embed.proj.bias 384
blocks.{0..11}.gamma_{1,2} 384
blocks.{0..11}.norm{1,2}.{weight,bias} 384
blocks.{0..11}.attn.qkv.weight 1152,384
blocks.{0..11}.attn.qkv.bias 1152
blocks.{0..11}.attn.proj.weight 384,384
blocks.{0..11}.attn.proj.bias 384
blocks.{0..11}.mlp.fc1.weight 1536,384
blocks.{0..11}.mlp.fc1.bias 1536
blocks.{0..11}.mlp.fc2.weight 384,1536
blocks.{0..11}.mlp.fc2.bias 384
norm.{weight,bias} 384
head.weight 1000,384
head.bias 1000
"""

# microsoft/Swin-Transformer, models/swin_transformer.py: swin_tiny_patch4_window7_224, less the
# buffers relative_position_index and attn_mask. The merge of stages i and i + 1 is in layers.i.
SWIN_T_OFFICIAL = """
patch_embed.proj.weight 96,3,4,4
patch_embed.proj.bias 96
patch_embed.norm.{weight,bias} 96
layers.0.blocks.{0..1}.norm{1,2}.{weight,bias} 96
layers.0.blocks.{0..1}.attn.relative_position_bias_table 169,3
layers.0.blocks.{0..1}.attn.qkv.weight 288,96
layers.0.blocks.{0..1}.attn.qkv.bias 288
layers.0.blocks.{0..1}.attn.proj.weight 96,96
layers.0.blocks.{0..1}.attn.proj.bias 96
layers.0.blocks.{0..1}.mlp.fc1.weight 384,96
layers.0.blocks.{0..1}.mlp.fc1.bias 384
layers.0.blocks.{0..1}.mlp.fc2.weight 96,384
layers.0.blocks.{0..1}.mlp.fc2.bias 96
layers.0.downsample.norm.{weight,bias} 384
layers.0.downsample.reduction.weight 192,384
layers.1.blocks.{0..1}.norm{1,2}.{weight,bias} 192
layers.1.blocks.{0..1}.attn.relative_position_bias_table 169,6
layers.1.blocks.{0..1}.attn.qkv.weight 576,192
layers.1.blocks.{0..1}.attn.qkv.bias 576
layers.1.blocks.{0..1}.attn.proj.weight 192,192
layers.1.blocks.{0..1}.attn.proj.bias 192
layers.1.blocks.{0..1}.mlp.fc1.weight 768,192
layers.1.blocks.{0..1}.mlp.fc1.bias 768
layers.1.blocks.{0..1}.mlp.fc2.weight 192,768
layers.1.blocks.{0..1}.mlp.fc2.bias 192
layers.1.downsample.norm.{weight,bias} 768
layers.1.downsample.reduction.weight 384,768
layers.2.blocks.{0..5}.norm{1,2}.{weight,bias} 384
layers.2.blocks.{0..5}.attn.relative_position_bias_table 169,12
layers.2.blocks.{0..5}.attn.qkv.weight 1152,384
layers.2.blocks.{0..5}.attn.qkv.bias 1152
layers.2.blocks.{0..5}.attn.proj.weight 384,384
layers.2.blocks.{0..5}.attn.proj.bias 384
layers.2.blocks.{0..5}.mlp.fc1.weight 1536,384
layers.2.blocks.{0..5}.mlp.fc1.bias 1536
layers.2.blocks.{0..5}.mlp.fc2.weight 384,1536
layers.2.blocks.{0..5}.mlp.fc2.bias 384
layers.2.downsample.norm.{weight,bias} 1536
layers.2.downsample.reduction.weight 768,1536
layers.3.blocks.{0..1}.norm{1,2}.{weight,bias} 768
layers.3.blocks.{0..1}.attn.relative_position_bias_table 169,24
layers.3.blocks.{0..1}.attn.qkv.weight 2304,768
layers.3.blocks.{0..1}.attn.qkv.bias 2304
layers.3.blocks.{0..1}.attn.proj.weight 768,768
layers.3.blocks.{0..1}.attn.proj.bias 768
layers.3.blocks.{0..1}.mlp.fc1.weight 3072,768
layers.3.blocks.{0..1}.mlp.fc1.bias 3072
layers.3.blocks.{0..1}.mlp.fc2.weight 768,3072
layers.3.blocks.{0..1}.mlp.fc2.bias 768
norm.{weight,bias} 768
head.weight 1000,768
head.bias 1000
"""

# transformers, the files of ViTForImageClassification: a ViT-Ti/16, as DeiT-Ti is published there.
HUGGING_FACE_VIT = """
vit.embeddings.cls_token 1,1,192
vit.embeddings.position_embeddings 1,197,192
vit.embeddings.patch_embeddings.projection.weight 192,3,16,16
vit.embeddings.patch_embeddings.projection.bias 192
vit.encoder.layer.{0..11}.layernorm_{before,after}.{weight,bias} 192
vit.encoder.layer.{0..11}.attention.attention.{query,key,value}.weight 192,192
vit.encoder.layer.{0..11}.attention.attention.{query,key,value}.bias 192
vit.encoder.layer.{0..11}.attention.output.dense.weight 192,192
vit.encoder.layer.{0..11}.attention.output.dense.bias 192
vit.encoder.layer.{0..11}.intermediate.dense.weight 768,192
vit.encoder.layer.{0..11}.intermediate.dense.bias 768
vit.encoder.layer.{0..11}.output.dense.weight 192,768
vit.encoder.layer.{0..11}.output.dense.bias 192
vit.layernorm.{weight,bias} 192
classifier.weight 1000,192
classifier.bias 1000
"""

# transformers, the files of DeiTForImageClassificationWithTeacher.
HUGGING_FACE_DEIT = (
    HUGGING_FACE_VIT.replace("vit.", "deit.")
    .replace("1,197,", "1,198,")
    .replace("classifier.", "{cls,distillation}_classifier.")
    + "deit.embeddings.distillation_token 1,1,192"
)

# transformers, the files of SwinForImageClassification, of two stages: width 8, windows of 7.
HUGGING_FACE_SWIN = """
swin.embeddings.patch_embeddings.projection.weight 8,3,4,4
swin.embeddings.patch_embeddings.projection.bias 8
swin.embeddings.norm.{weight,bias} 8
swin.encoder.layers.0.blocks.{0,1}.layernorm_{before,after}.{weight,bias} 8
swin.encoder.layers.0.blocks.{0,1}.attention.self.relative_position_bias_table 169,2
swin.encoder.layers.0.blocks.{0,1}.attention.self.{query,key,value}.weight 8,8
swin.encoder.layers.0.blocks.{0,1}.attention.self.{query,key,value}.bias 8
swin.encoder.layers.0.blocks.{0,1}.attention.output.dense.weight 8,8
swin.encoder.layers.0.blocks.{0,1}.attention.output.dense.bias 8
swin.encoder.layers.0.blocks.{0,1}.intermediate.dense.weight 32,8
swin.encoder.layers.0.blocks.{0,1}.intermediate.dense.bias 32
swin.encoder.layers.0.blocks.{0,1}.output.dense.weight 8,32
swin.encoder.layers.0.blocks.{0,1}.output.dense.bias 8
swin.encoder.layers.0.downsample.norm.{weight,bias} 32
swin.encoder.layers.0.downsample.reduction.weight 16,32
swin.encoder.layers.1.blocks.0.layernorm_{before,after}.{weight,bias} 16
swin.encoder.layers.1.blocks.0.attention.self.relative_position_bias_table 169,4
swin.encoder.layers.1.blocks.0.attention.self.{query,key,value}.weight 16,16
swin.encoder.layers.1.blocks.0.attention.self.{query,key,value}.bias 16
swin.encoder.layers.1.blocks.0.attention.output.dense.weight 16,16
swin.encoder.layers.1.blocks.0.attention.output.dense.bias 16
swin.encoder.layers.1.blocks.0.intermediate.dense.weight 64,16
swin.encoder.layers.1.blocks.0.intermediate.dense.bias 64
swin.encoder.layers.1.blocks.0.output.dense.weight 16,64
swin.encoder.layers.1.blocks.0.output.dense.bias 16
swin.layernorm.{weight,bias} 16
classifier.weight 3,16
classifier.bias 3
"""


def expand(text: str) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of every tensor of a list."""
    named = {}
    for line in text.strip().splitlines():
        pattern, shape = line.split()
        pieces = re.split(r"\{(.*?)\}", pattern)
        choices = [_alternatives(piece) for piece in pieces[1::2]]
        for chosen in itertools.product(*choices):
            parts = itertools.zip_longest(pieces[::2], chosen, fillvalue="")
            name = "".join(itertools.chain.from_iterable(parts))
            assert name not in named, name
            named[name] = tuple(int(side) for side in shape.split(","))
    return named


def _alternatives(text: str) -> list[str]:
    first, dots, last = text.partition("..")
    return [str(i) for i in range(int(first), int(last) + 1)] if dots else text.split(",")
