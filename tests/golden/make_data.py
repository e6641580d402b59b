"""Writes tests/golden/data/: a small data set as the programs of others store it.

usage: python tests/golden/make_data.py
pinned: lmdb 1.4.1 (LMDB 0.9.29), pyarrow 26.0.1, Pillow 13.0.0 (lmdb keeps bytes that it does not use as they were: of `data.mdb` a second run may give others)

datasets/toy/valid_imgs.tsv, valid_texts.jsonl   Chinese-CLIP's text form
datasets/toy/lmdb/valid/{imgs,pairs}/data.mdb    the same, by the steps of cn_clip's build_lmdb_dataset.py
huggingface.parquet   `image` as a struct of bytes and path, `text`, `label`, `width`; in two row groups, compressed with snappy
paths.parquet         clip-retrieval's metadata: image_path, caption, and further columns; nothing compressed
zstd.parquet          one column in a codec that is refused
expected.json         id, SHA-256 of the picture's bytes and texts for each picture of the data set
"""
import base64, hashlib, io, json, pathlib, pickle, random, shutil, tempfile

import lmdb
import PIL
import pyarrow
import pyarrow.parquet
from PIL import Image

assert lmdb.__version__ == '1.4.1' and PIL.__version__ == '13.0.0' and pyarrow.__version__ == '26.0.1'
OUT = pathlib.Path(__file__).parent / 'data'
TOY = OUT / 'datasets/toy'
WORDS = ['猫', '犬', '虹', 'a red bus', 'شجرة', '바다', 'снег', 'ある日']


def picture(number):
    """A few are as large as several pages of LMDB."""
    side = 48 if number % 13 == 5 else 2
    data = random.Random(number).randbytes(side * side * 3)
    file = io.BytesIO()
    Image.frombytes('RGB', (side, side), data).save(file, 'PNG')
    return file.getvalue()


def write_lmdb(folder, records, count_key):
    """Into a folder of its own with a small map, a hundred records a transaction; then the file without its empty end."""
    with tempfile.TemporaryDirectory() as work:
        env = lmdb.open(work, map_size=1 << 22)
        for start in range(0, len(records), 100):
            with env.begin(write=True) as transaction:
                for key, value in records[start:start + 100]:
                    transaction.put(key, value)
        with env.begin(write=True) as transaction:
            transaction.put(count_key, str(len(records)).encode())
        env.close()
        folder.mkdir(parents=True)
        shutil.copy(pathlib.Path(work) / 'data.mdb', folder / 'data.mdb')


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    TOY.mkdir(parents=True)
    images = {number * 37 % 1009: picture(number) for number in range(60)}
    texts = []
    for text_id in range(90):
        ids = [list(images)[text_id * 7 % 60]] if text_id % 9 else [list(images)[text_id % 60], list(images)[(text_id + 1) % 60]]
        texts.append({'text_id': 100_000 + text_id * 70_001, 'text': f'{WORDS[text_id % len(WORDS)]} {text_id}', 'image_ids': ids})
    encoded = {number: base64.urlsafe_b64encode(file).decode() for number, file in images.items()}
    with open(TOY / 'valid_imgs.tsv', 'w') as file:
        file.writelines(f'{number}\t{text}\n' for number, text in encoded.items())
    with open(TOY / 'valid_texts.jsonl', 'w', encoding='utf-8') as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + '\n' for text in texts)
    pairs = [(image_id, text['text_id'], text['text']) for text in texts for image_id in text['image_ids']]
    write_lmdb(TOY / 'lmdb/valid/imgs', [(str(number).encode(), text.encode()) for number, text in encoded.items()], b'num_images')
    write_lmdb(TOY / 'lmdb/valid/pairs', [(str(i).encode(), pickle.dumps(pair, 4)) for i, pair in enumerate(pairs)], b'num_samples')
    expected = [{
        'id': str(number),
        'sha256': hashlib.sha256(file).hexdigest(),
        'texts': [text['text'] for text in texts if number in text['image_ids']],
    } for number, file in images.items()]
    (OUT / 'expected.json').write_text(json.dumps(expected, ensure_ascii=False, indent=0), encoding='utf-8')

    some = list(images.items())[:8]
    table = pyarrow.table({
        'image': pyarrow.array([{'bytes': file, 'path': f'{number}.png'} for number, file in some[:7]] + [{'bytes': None, 'path': 'gone.png'}]),
        'text': pyarrow.array([['一', 'one'], ['二'], [], None, ['五'], ['六'], ['七'], ['八']]),
        'label': pyarrow.array([0, 1, 0, 1, 0, 1, 0, 1]),
        'width': pyarrow.array([1, None, 3, 4, 5, 6, 7, 8], pyarrow.int32()),
    })
    pyarrow.parquet.write_table(table, OUT / 'huggingface.parquet', row_group_size=5, compression='snappy')
    table = pyarrow.table({
        'image_path': ['a.png', 'a.png', 'sub/b.png', None, 'https://example.org/c.png'],
        'caption': ['eins', 'zwei', '三', 'vier', 'fünf'],
        'score': [0.5, 0.25, None, 1.0, 2.0],
        'nsfw': [False, False, True, None, True],
    })
    pyarrow.parquet.write_table(table, OUT / 'paths.parquet', compression='none')
    pyarrow.parquet.write_table(table.select(['image_path']), OUT / 'zstd.parquet', compression='zstd')


main()
